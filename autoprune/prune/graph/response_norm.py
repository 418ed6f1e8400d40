"""Global response normalization (Woo et al. 2023, ConvNeXt V2) that divides by as many channels as it once had.

It divides each channel's norm over the image by the mean of all channels' norms. A channel that is zero has a norm of
zero, so its removal changes no sum; only the number by which the sum is divided has to stay what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

KINDS = (
    "timm.layers.grn.GlobalResponseNorm",
    "transformers.models.convnextv2.modeling_convnextv2.ConvNextV2GRN",
)
PRODUCERS = ("fc1", "pwconv1")
"""Names of the layer whose channels such a norm, its neighbour, is given."""


class FewerChannelsResponseNorm(nn.Module):
    """The norm of timm or of transformers with the number of channels, ``counted``, by which it divides."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, H, W, C)``, or ``(B, C, H, W)`` where timm's norm was made for that, to the same shape."""
        layer: Any = self
        axis, places = getattr(layer, "channel_dim", -1), getattr(layer, "spatial_dim", (1, 2))
        shape = [1] * x.ndim
        shape[axis] = -1
        size = x.norm(p=2, dim=places, keepdim=True)
        ratio = size / (size.sum(dim=axis, keepdim=True) / layer.counted + getattr(layer, "eps", 1e-6))
        return x + layer.bias.view(shape) + layer.weight.view(shape) * (x * ratio)


def shrink_response_norms(block: nn.Module) -> None:
    """Fit the norms in ``block`` to the channels left; attributes of the layers that make these are still the old."""
    made: list[Any] = [getattr(block, name) for name in PRODUCERS if isinstance(getattr(block, name, None), nn.Module)]
    norms: list[Any] = [layer for layer in block.children() if is_response_norm(layer)]
    for norm in norms if made else []:
        before = getattr(made[0], "out_features", None) or made[0].out_channels
        if norm.weight.numel() != before:
            count_channels(norm, before)


def is_response_norm(layer: nn.Module) -> bool:
    """Whether this is such a norm, which still divides by the number of its channels."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}" in KINDS


def count_channels(layer: Any, channels: int) -> None:
    """Let ``layer`` divide by this number of channels from now on."""
    layer.counted = channels
    layer.__class__ = FewerChannelsResponseNorm


@contextmanager
def counted(model: nn.Module) -> Iterator[None]:
    """Let all these norms in ``model`` divide by a number, so that a run shows sums and no means."""
    norms: list[tuple[Any, type]] = [(layer, type(layer)) for layer in model.modules() if is_response_norm(layer)]
    for layer, _ in norms:
        count_channels(layer, layer.weight.numel())
    try:
        yield
    finally:
        for layer, kind in norms:
            layer.__class__ = kind
            del layer.counted
