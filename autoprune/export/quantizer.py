"""What torchao is to quantise: the inputs and the weights of every convolution and linear layer.

torchao's own quantiser for x86 (``X86InductorQuantizer``, 0.18) looks for patterns such as convolution, batch norm and
addition, and fails on a residual block's ("Input partition has more than one output node"); this one has no patterns.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule
from torchao.quantization.pt2e import (
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

LAYERS = {
    torch.ops.aten.conv1d.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv3d.default,
    torch.ops.aten.linear.default,
}

ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=FusedMovingAvgObsFakeQuantize.with_args(observer=MovingAverageMinMaxObserver),
)

WEIGHT = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    observer_or_fake_quant_ctr=FusedMovingAvgObsFakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver),
)


class Int8Quantizer(Quantizer):
    """Quantises inputs per tensor and weights per output channel, in every convolution and linear layer."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Note on each layer's node how its input and its weight are quantised."""
        for node in model.graph.nodes:
            if node.target in LAYERS:
                specs = {node.args[0]: ACTIVATION, node.args[1]: WEIGHT}
                node.meta["quantization_annotation"] = QuantizationAnnotation(input_qspec_map=specs, _annotated=True)
        return model

    def validate(self, model: GraphModule) -> None:
        """Accept every model."""
