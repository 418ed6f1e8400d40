"""From one number to a sparsity for each group: how much of the network is to go, and by what rule it is spread."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from autoprune.base.registry import Registry
from autoprune.errors import UserError
from autoprune.prune.criteria.base import Context, per_unit, rows
from autoprune.prune.criteria.lamp import lamp_scores
from autoprune.prune.groups import Group, Groups

Family = Callable[[float], dict[str, float]]
"""From a level in [0, 1] to a sparsity for each group; all grow with the level, from nothing to as much as can go."""


def allocate(
    model: nn.Module,
    groups: Groups,
    ratio: float,
    method: str = "uniform",
    structured: bool = True,
    context: Context | None = None,
) -> dict[str, float]:
    """Return a sparsity for each group, such that ``ratio`` of the model's parameters go in all.

    Args:
        ratio: fraction of all the model's parameters, in [0, 1).
        method: a name in :data:`METHODS`, whose every entry is called as :func:`uniform` is; one that has a parameter
            ``context`` gets that too.
        structured: whether whole channels go (a layer that loses outputs and inputs shrinks by both) or single weights.
        context: data, for methods that look at it.

    Raises:
        UserError: an unknown method, one that lacks its data, or more than the groups hold.
    """
    spread = METHODS[method]
    if not 0 <= ratio < 1:
        raise UserError(f"the fraction of the parameters to remove is {ratio!r}: it must be a number in [0, 1)")
    looks = "context" in inspect.signature(spread).parameters
    family = spread(model, groups, structured, **({"context": context} if looks else {}))
    total = sum(p.numel() for p in model.parameters())
    left = _params_left_structured if structured else _params_left_unstructured
    most = 1 - left(model, groups, family(1.0)) / total
    if ratio > most:
        raise UserError(f"{ratio:.2%} of the parameters cannot go: the groups that can be pruned hold {most:.2%}")
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if left(model, groups, family(middle)) > (1 - ratio) * total:
            low = middle
        else:
            high = middle
    return family(high)


def uniform(model: nn.Module, groups: Groups, structured: bool) -> Family:
    """Give every group the same sparsity."""
    limits = most(model, groups, structured)
    return lambda level: {name: min(level, limit) for name, limit in limits.items()}


def erk(model: nn.Module, groups: Groups, structured: bool) -> Family:
    """Give each group a density in proportion to (sum of its dimensions) / (their product): Erdős-Rényi-Kernel.

    Mocanu et al. 2018; with the kernel, Evci et al. 2020. Small layers stay denser.
    """
    limits = most(model, groups, structured)
    density = {}
    for group in groups:
        weights = list(_weights(model, group).values())
        density[group.name] = sum(sum(w.shape) for w in weights) / sum(w.numel() for w in weights)
    dense = 1 / min(density.values())  # at this factor, every group is dense
    return lambda level: {
        name: min(max(0.0, 1 - dense * (1 - level) * value), limits[name]) for name, value in density.items()
    }


def global_magnitude(model: nn.Module, groups: Groups, structured: bool) -> Family:
    """Remove the smallest wherever they are: weights by magnitude, channels by the root mean square of theirs."""
    scores = {}
    for group in groups:
        weights = _weights(model, group).values()
        if structured:
            size = sum(weight.numel() for weight in weights) / group.channels
            scores[group.name] = (_squares(model, group) / size).sqrt()
        else:
            scores[group.name] = torch.cat([weight.abs().flatten().cpu() for weight in weights])
    return _below_one_threshold(scores, most(model, groups, structured))


def lamp(model: nn.Module, groups: Groups, structured: bool) -> Family:
    """Remove what has the smallest LAMP score, wherever it is (Lee et al. 2021)."""
    scores = {}
    for group in groups:
        if structured:
            scores[group.name] = lamp_scores(_squares(model, group).sqrt())
        else:
            scores[group.name] = torch.cat([lamp_scores(w).flatten().cpu() for w in _weights(model, group).values()])
    return _below_one_threshold(scores, most(model, groups, structured))


METHODS: Registry[Callable[..., Family]] = Registry(
    "allocation",
    {
        "uniform": "autoprune.prune.allocation:uniform",
        "global": "autoprune.prune.allocation:global_magnitude",
        "erk": "autoprune.prune.allocation:erk",
        "lamp": "autoprune.prune.allocation:lamp",
        "owl": "autoprune.prune.owl:owl",
    },
    "autoprune.allocations",
)


def _below_one_threshold(scores: Mapping[str, Tensor], most: Mapping[str, float]) -> Family:
    everything = torch.cat([score.double() for score in scores.values()]).sort().values
    ordered = {name: score.double().sort().values for name, score in scores.items()}

    def family(level: float) -> dict[str, float]:
        index = round(level * len(everything))
        threshold = everything[index] if index < len(everything) else torch.tensor(float("inf"))
        return {
            name: min(int(torch.searchsorted(values, threshold)) / len(values), most[name])
            for name, values in ordered.items()
        }

    return family


def _weights(model: nn.Module, group: Group) -> dict[str, Tensor]:
    """Return the weights that produce the group's channels, by parameter name."""
    parts = (part for part in group.slices if part.role == "out")
    return {part.parameter: model.get_parameter(part.parameter).detach() for part in parts}


def _squares(model: nn.Module, group: Group) -> Tensor:
    """Return the sum of squares of the weights that produce each channel."""
    parts = [part for part in group.slices if part.role == "out"]
    squares = (rows(part, model.get_parameter(part.parameter)).pow(2).sum(1) for part in parts)
    return reduce(torch.add, (per_unit(group, part, each) for part, each in zip(parts, squares, strict=True)))


def most(model: nn.Module, groups: Groups, structured: bool) -> dict[str, float]:
    """Return the sparsity that leaves each group one channel, or each of its layers one weight."""
    if structured:
        return {group.name: 1 - 1 / group.channels for group in groups}
    return {group.name: 1 - 1 / min(w.numel() for w in _weights(model, group).values()) for group in groups}


def _params_left_unstructured(model: nn.Module, groups: Groups, sparsity: Mapping[str, float]) -> float:
    removed = sum(sparsity[group.name] * w.numel() for group in groups for w in _weights(model, group).values())
    return sum(p.numel() for p in model.parameters()) - removed


def _params_left_structured(model: nn.Module, groups: Groups, sparsity: Mapping[str, float]) -> float:
    """Return the parameters left, each shrunk along every dimension along which channels go."""
    kept: dict[tuple[str, int], float] = {}
    for group in groups:
        for part in group.slices:
            share = float((part.unit >= 0).float().mean())
            key = part.parameter, part.dim
            kept[key] = kept.get(key, 1.0) - sparsity[group.name] * share
    left = 0.0
    for name, parameter in model.named_parameters():
        left += parameter.numel() * math.prod(kept.get((name, dim), 1.0) for dim in range(parameter.dim()))
    return left
