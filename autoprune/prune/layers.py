"""A network's layers in the order in which they run, written down so that they can be drawn without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from autoprune.base.modes import evaluating
from autoprune.base.tree import beside, call
from autoprune.prune.graph.flow import flow_of
from autoprune.prune.groups import Groups
from autoprune.results.network import Layer, Network
from autoprune.results.size_model import SizeModel, Term

OUTPUTS = ("out_channels", "out_features", "embedding_dim")
INPUTS = ("in_channels", "in_features", "num_embeddings")
"""What PyTorch's layers call their channels."""


def network_of(model: nn.Module, example_input: Any, groups: Groups, sizes: SizeModel) -> Network:
    """Return the layers of ``model`` in the order in which they first run, what their parameters cost, who feeds whom.

    A layer is a module with a parameter of two dimensions or more of its own. What has only vectors (norms, bare
    parameters) counts for the layer before it.

    Args:
        groups: the groups of ``model``.
        sizes: its size model, whose terms are in the order of its parameters.
    """
    costs: dict[str, list[Term]] = {}
    matrices: dict[str, list[torch.Tensor]] = {}
    for (name, parameter), term in zip(model.named_parameters(), sizes.terms, strict=False):
        owner = name.rpartition(".")[0] or name
        costs.setdefault(owner, []).append(term)
        if parameter.ndim > 1:
            matrices.setdefault(owner, []).append(parameter)
    shares = _shares(groups)
    layers: list[Layer] = []
    waiting: list[Term] = []
    for name in _in_order(model, example_input, costs):
        waiting += costs[name]
        if name in matrices:
            largest = max(matrices[name], key=torch.numel)
            layers.append(_layer(model, name, largest, shares.get(name, {}), tuple(waiting)))
        elif layers:
            last = layers.pop()
            layers.append(Layer(**{**vars(last), "terms": (*last.terms, *waiting)}))
        else:
            continue
        waiting = []
    edges = flow_of(model, example_input, [layer.name for layer in layers])
    return Network(tuple(layers), {group.name: group.channels for group in groups}, edges)


def _in_order(model: nn.Module, example_input: Any, owners: Iterable[str]) -> list[str]:
    """Return the owners of parameters as they first run; one that is never called comes after the one before it."""
    modules, called = dict(model.named_modules()), dict[str, int]()

    def note(name: str, *_: Any) -> None:
        called.setdefault(name, len(called))

    hooks = [modules[name].register_forward_pre_hook(partial(note, name)) for name in owners if name in modules]
    try:
        with torch.no_grad(), evaluating(model):
            call(model, beside(model, example_input))
    finally:
        for hook in hooks:
            hook.remove()
    places, before = dict[str, int](), -1
    for name in owners:
        places[name] = before = called.get(name, before)
    return sorted(places, key=places.__getitem__)


def _shares(groups: Groups) -> dict[str, dict[str, float]]:
    """Return the share of each layer's outputs that belongs to each group: of its widest parameter's."""
    found: dict[str, dict[str, float]] = {}
    for group in groups:
        for part in group.slices:
            if part.role in ("out", "carry"):
                share = float((part.unit >= 0).float().mean())
                of_layer = found.setdefault(part.layer, {})
                of_layer[group.name] = max(share, of_layer.get(group.name, 0.0))
    return found


def _layer(
    model: nn.Module, name: str, weight: torch.Tensor, groups: dict[str, float], terms: tuple[Term, ...]
) -> Layer:
    modules = dict(model.named_modules())
    module = modules.get(name)
    outputs = next((getattr(module, each) for each in OUTPUTS if hasattr(module, each)), weight.shape[0])
    inputs = next((getattr(module, each) for each in INPUTS if hasattr(module, each)), weight.shape[1])
    kind = type(module).__name__ if module is not None else "parameter"
    if isinstance(module, nn.modules.conv._ConvNd):
        kind += f" {'x'.join(map(str, module.kernel_size))}"
        if module.groups > 1:
            kind = f"depthwise {kind}" if module.groups == module.in_channels else f"{kind}, {module.groups} groups"
    return Layer(name, kind, int(inputs), int(outputs), groups, terms)
