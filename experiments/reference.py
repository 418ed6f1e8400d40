"""What a removal must give, found without the package's own proof: the dense network, its activations set to zero.

The proof of the package sets weights to zero. Here the weights stay: hooks multiply what the layers give and are given
by zeros at the channels that go, while the dense network runs by its own code. Where a layer's weight is used without
the layer being called (the projections of ``nn.MultiheadAttention``) the weight itself is set to zero.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from autoprune.base.tree import call
from autoprune.prune.graph.trace import tensors
from autoprune.prune.groups import Groups
from autoprune.prune.removal import remove_channels


@torch.no_grad()
def reference_error(
    model: nn.Module, example: Any, groups: Groups, removed: Mapping[str, Collection[int]], double: bool = True
) -> float:
    """Return the largest difference of the outputs, over the largest output, of the smaller and the masked network."""
    model = copy.deepcopy(model).eval()
    if double:
        model, example = model.double(), _double(example)
    smaller = remove_channels(model, example, groups, removed)
    found = tensors(call(smaller, copy.deepcopy(example)))
    mask(model, groups, removed)
    wanted = tensors(call(model, copy.deepcopy(example)))
    return max(
        (a - b).abs().max().item() / max(b.abs().max().item(), 1e-30)
        for a, b in zip(found, wanted, strict=True)
        if b.is_floating_point() and b.numel()
    )


def mask(model: nn.Module, groups: Groups, removed: Mapping[str, Collection[int]]) -> None:
    """Let ``model`` run with these units at zero, where layers are called, in place."""
    layers = dict(model.named_modules())
    called = {name for name, layer in layers.items() if type(layer).forward in FORWARDS}
    for group in groups:
        units = torch.tensor(sorted(removed.get(group.name, ())))
        for part in group.slices:
            gone = torch.isin(part.unit, units.to(part.unit.dtype))
            layer, name = layers.get(part.layer), part.parameter.rpartition(".")[2]
            whole = part.layer in called and name == "weight"
            if whole and part.role == "in":
                layer.register_forward_pre_hook(_before(gone))
            elif whole:
                layer.register_forward_hook(_after(gone))
            elif part.layer not in called and name not in ("running_mean", "running_var"):
                state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
                state[part.parameter].index_fill_(part.dim, gone.nonzero().flatten(), 0.0)


FORWARDS = {nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward, nn.Embedding.forward} | {
    nn.BatchNorm1d.forward,
    nn.ConvTranspose2d.forward,
    nn.GroupNorm.forward,
}
"""Of the layers that are masked by what they give and are given; of others the weights are."""


def _before(gone: Tensor):
    return lambda layer, inputs: (_masked(layer, inputs[0], gone), *inputs[1:])


def _after(gone: Tensor):
    return lambda layer, inputs, output: _masked(layer, output, gone)


def _masked(layer: nn.Module, x: Tensor, gone: Tensor) -> Tensor:
    axis = 1 if isinstance(layer, _ConvNd | _NormBase | nn.GroupNorm) else -1
    shape = [1] * x.ndim
    shape[axis] = -1
    keep = ~gone
    if x.shape[axis] != len(keep):  # a grouped convolution's inputs, which are masked where they are made
        return x
    return x * keep.view(shape).to(x.dtype)


def _double(example: Any) -> Any:
    if isinstance(example, Tensor):
        return example.double() if example.is_floating_point() else example
    if isinstance(example, Mapping):
        return {name: _double(value) for name, value in example.items()}
    return type(example)(_double(value) for value in example) if isinstance(example, tuple | list) else example
