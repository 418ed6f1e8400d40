"""Make a layer's attributes agree with the shapes of its parameters after some of them were cut."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from autoprune.prune.graph.attention import shrink_heads
from autoprune.prune.graph.experts import shrink_experts
from autoprune.prune.graph.named_sizes import fit_named_sizes
from autoprune.prune.graph.recurrent import fit_recurrent
from autoprune.prune.graph.response_norm import shrink_response_norms


def fit_attributes(model: nn.Module) -> None:
    """Set sizes (channels, features, groups, heads) of every layer of ``model`` to what its parameters say.

    The attributes must still be those of the network before the cut.
    """
    for layer in model.modules():
        shrink_heads(layer)
        shrink_experts(layer)
        shrink_response_norms(layer)
    for layer in model.modules():
        _fit(layer)
    for layer in model.modules():
        fit_named_sizes(layer)


def _fit(layer: nn.Module) -> None:
    if isinstance(layer, nn.RNNBase):
        fit_recurrent(layer)
    weight = getattr(layer, "weight", None)
    if weight is None:
        return
    if isinstance(layer, _ConvTransposeNd):
        inputs = layer.in_channels // layer.groups
        layer.in_channels = len(weight)
        layer.groups = len(weight) // inputs if layer.groups > 1 else 1
        layer.out_channels = weight.shape[1] * layer.groups
    elif isinstance(layer, _ConvNd):
        if layer.groups > 1:
            inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
            # whole groups went, or the same places of each group in a layer with as many inputs as outputs
            layer.groups = len(weight) // (weight.shape[1] if inputs == outputs else outputs)
        layer.out_channels, layer.in_channels = len(weight), weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, _NormBase):
        layer.num_features = len(weight)
    elif isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        layer.normalized_shape = tuple(weight.shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_groups = len(weight) // (layer.num_channels // layer.num_groups)
        layer.num_channels = len(weight)
    elif isinstance(layer, nn.Embedding):
        layer.embedding_dim = weight.shape[1]
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(weight)
    elif type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):  # GPT-2's linear layer
        layer.nx, layer.nf = weight.shape
