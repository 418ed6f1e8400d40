"""Sizes that layers keep in attributes and read in forward(): how each follows from the layer's own parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

FOLLOWING = ("k_bias",)
"""Buffers in no state dict that can shrink all the same: all zero, and as long as a parameter."""

SIZES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "timm.models.res2net.Bottle2neck": lambda layer: {"width": layer.convs[0].in_channels},
    "timm.models.dla.DlaBottle2neck": lambda layer: {"width": layer.convs[0].in_channels},
    "timm.models.cspnet.CrossStage": lambda layer: {"expand_chs": layer.conv_exp.conv.out_channels},
    "timm.models.cspnet.CrossStage3": lambda layer: {"expand_chs": layer.conv_exp.conv.out_channels},
    "timm.layers.mixed_conv2d.MixedConv2d": lambda layer: {
        "splits": [conv.in_channels for conv in layer.values()],
        "in_channels": sum(conv.in_channels for conv in layer.values()),
        "out_channels": sum(conv.out_channels for conv in layer.values()),
    },
    "timm.layers.selective_kernel.SelectiveKernel": lambda layer: {
        "in_channels": sum(path.conv.in_channels for path in layer.paths) if layer.split_input else layer.in_channels
    },
    "timm.layers.pos_embed_rel.RelPosBias": lambda layer: {
        "bias_shape": (*layer.bias_shape[:-1], layer.relative_position_bias_table.shape[1])
    },
    "timm.models.beit.Attention": lambda layer: _constant_keys(layer),
    "timm.models.eva.EvaAttention": lambda layer: _constant_keys(layer),
    "timm.models.swin_transformer_v2.WindowAttention": lambda layer: _constant_keys(layer),
    "ultralytics.nn.modules.block.C2f": lambda layer: {"c": layer.cv1.conv.out_channels // 2},
}
"""New values of attributes, by the class whose layers have them; what they are made of is fitted before."""


def follows(layer: nn.Module, buffer: str) -> bool:
    """Whether ``layer`` has a buffer in no state dict that :func:`fit_named_sizes` fits."""
    return buffer in FOLLOWING and any(
        f"{kind.__module__}.{kind.__qualname__}" in SIZES for kind in type(layer).__mro__
    )


def fit_named_sizes(layer: nn.Module) -> None:
    """Set the sizes that ``layer`` keeps in attributes to what its parts, which fit already, say."""
    for kind in type(layer).__mro__:
        rule = SIZES.get(f"{kind.__module__}.{kind.__qualname__}")
        if rule:
            for name, value in rule(layer).items():
                setattr(layer, name, value)


def _constant_keys(layer: Any) -> dict[str, Any]:
    """Return the bias of the keys, which is always zero, as long as that of the queries."""
    return {} if layer.q_bias is None else {"k_bias": layer.k_bias.new_zeros(len(layer.q_bias))}
