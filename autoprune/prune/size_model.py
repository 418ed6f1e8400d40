"""The sizes of all pruned versions of a network as plain arithmetic, for tuners that know nothing of PyTorch."""

from __future__ import annotations

from typing import Any

from torch import nn

from autoprune.base.device import CPU, on_cpu
from autoprune.base.tree import to_device
from autoprune.measure import measure
from autoprune.prune.graph.trace import trace
from autoprune.prune.groups import Groups, removed_positions
from autoprune.prune.removal import cut
from autoprune.results.size_model import SizeModel, Term


def size_model(model: nn.Module, example_input: Any, groups: Groups, round_to: int = 8) -> SizeModel:
    """Return the parameters and MACs of every pruned version of ``model``.

    What the products of weights do not account for (attention between tokens) is measured: each group is pruned once.

    Args:
        groups: the groups of ``model``.
        round_to: kept channels are a multiple of this.
    """
    model, example_input = on_cpu(model), to_device(example_input, CPU)  # as in find_groups
    by_dim: dict[tuple[str, int], dict[str, float]] = {}
    for group in groups:
        for part in group.slices:
            shares = by_dim.setdefault((part.parameter, part.dim), {})
            shares[group.name] = shares.get(group.name, 0.0) + float((part.unit >= 0).float().mean())
    macs = trace(model, example_input, ()).macs
    terms = [
        Term(p.numel(), macs.get(name, 0.0), tuple(by_dim[name, dim] for dim in range(p.ndim) if (name, dim) in by_dim))
        for name, p in model.named_parameters()
    ]
    channels = {group.name: group.channels for group in groups}
    terms += _unexplained(model, example_input, groups, SizeModel(channels, tuple(terms), 1))
    return SizeModel(channels, tuple(terms), round_to, {group.name: group.kind for group in groups})


def _unexplained(model: nn.Module, example_input: Any, groups: Groups, explained: SizeModel) -> list[Term]:
    """Return terms for the MACs that no parameter takes part in: a constant, and a share for each group."""
    rest = measure.macs(model, example_input) - explained.sizes({})["macs"]
    if rest < 1:
        return []
    shares = {}
    for group in groups:
        units = group.channels // 2
        smaller = cut(model, removed_positions(groups, {group.name: range(units)}))
        lost = units / group.channels
        left = measure.macs(smaller, example_input) - explained.sizes({group.name: lost})["macs"]
        if rest - left > 1:
            shares[group.name] = (rest - left) / rest / lost
    return [Term(0, rest, (shares,) if shares else ())]
