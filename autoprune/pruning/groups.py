"""Coupled channel groups: which layers must lose the same channels, found with Torch-Pruning's dependency graph.

Layers tied by a residual add share their channels, so they are pruned together or not at all (DepGraph, Fang et al.
2023). One sparsity per group makes every candidate realisable.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from autoprune.measure import macs_by_layer

PRODUCERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Group:
    """Channels that stand or fall together.

    Args:
        name: the first layer, in the model's order, that produces these channels.
        channels: how many there are.
        producers: layers whose outputs they are; a criterion scores their weights.
        followers: depthwise convolutions and norms that carry them on.
        consumers: layers whose inputs they are.
        params: parameters that would go with all of them.
        macs: multiply-accumulates per example that would go with all of them.
    """

    name: str
    channels: int
    producers: tuple[str, ...]
    followers: tuple[str, ...]
    consumers: tuple[str, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class Groups:
    """The groups that can be pruned, in the model's order, and why each of the others cannot."""

    prunable: tuple[Group, ...]
    left_alone: dict[str, str]

    def __iter__(self):
        """Iterate over the prunable groups."""
        return iter(self.prunable)

    def __len__(self) -> int:
        """Return the number of prunable groups."""
        return len(self.prunable)


def dependency_graph(model: nn.Module, example_input: Tensor) -> tp.DependencyGraph:
    """Trace the model once and return its dependency graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tp.DependencyGraph().build_dependency(model.eval(), example_input, verbose=False)


def find_groups(model: nn.Module, example_input: Tensor, keep: tuple[str, ...] = ()) -> Groups:
    """Find the coupled channel groups of ``model``.

    Args:
        example_input: shape ``(1, ...)``.
        keep: names of layers whose channels are never removed.

    Returns:
        The prunable groups, and those left alone with the reason: the output, a layer in ``keep``, or a shape whose
        removal would not preserve the function.
    """
    graph = dependency_graph(model, example_input)
    names = {module: name for name, module in model.named_modules()}
    position = {name: i for i, name in enumerate(names.values())}
    layer_macs = macs_by_layer(model, example_input)
    prunable, left_alone = [], {}
    for raw in graph.get_all_groups(ignored_layers=[], root_module_types=list(PRODUCERS)):
        group = _describe(graph, raw, names, position, layer_macs)
        reason = _reason_to_leave_alone(graph, raw, group, keep)
        if reason:
            left_alone[group.name] = reason
        else:
            prunable.append(group)
    prunable.sort(key=lambda group: position[group.name])
    return Groups(tuple(prunable), left_alone)


def _describe(graph, raw, names, position, layer_macs) -> Group:
    producers, followers, consumers = set(), set(), set()
    params = macs = 0.0
    for dependency, indices in raw:
        layer = dependency.target.module
        if layer not in names:
            continue
        name = names[layer]
        if not graph.is_out_channel_pruning_fn(dependency.handler):
            share = len(indices) / graph.get_in_channels(layer)
            consumers.add(name)
            params += layer.weight.numel() * share if hasattr(layer, "weight") else 0
        else:
            share = len(indices) / graph.get_out_channels(layer)
            (producers if _is_producer(layer) else followers).add(name)
            params += sum(p.numel() for p in layer.parameters(recurse=False)) * share
        macs += layer_macs.get(name, 0) * share
    ordered = [tuple(sorted(members, key=position.__getitem__)) for members in (producers, followers, consumers)]
    return Group(ordered[0][0], len(raw[0].idxs), *ordered, params=round(params), macs=round(macs))


def _reason_to_leave_alone(graph, raw, group: Group, keep: tuple[str, ...]) -> str | None:
    for name in group.producers:
        if name in keep:
            return f"{name} is to be kept"
    for dependency, indices in raw:
        node, layer = dependency.target, dependency.target.module
        outwards = graph.is_out_channel_pruning_fn(dependency.handler)
        if node.type == OPTYPE.OUTPUT or (outwards and not node.outputs):
            return "it is the model's output"
        if getattr(layer, "groups", 1) > 1 and not _is_depthwise(layer):
            return "a grouped convolution is in it"
        if isinstance(layer, nn.LayerNorm | nn.GroupNorm | nn.MultiheadAttention):
            return f"removing channels under a {type(layer).__name__} changes the function"
        if outwards and _is_producer(layer) and list(indices) != list(raw[0].idxs):
            return "its layers number the channels differently"
    return None


def _is_producer(layer: nn.Module) -> bool:
    return isinstance(layer, PRODUCERS) and not _is_depthwise(layer)


def _is_depthwise(layer: nn.Module) -> bool:
    return 1 < getattr(layer, "groups", 1) == layer.out_channels == layer.in_channels
