"""First candidates: what an additive model of the loss predicts to be the front, and the usual allocations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from autoprune.results.candidate import TIE, Candidate
from autoprune.results.size_model import SizeModel
from autoprune.search.ties import tied_curves

Sparsity = dict[str, float]
"""A sparsity for each group, by name."""

UNIFORM = (0.25, 0.5, 0.75, 0.875, 15 / 16)
"""The grid of equal sparsities."""


def predicted_front(
    sizes: SizeModel, losses: Mapping[str, Sequence[tuple[float, float]]], size: str = "macs", points: int = 6
) -> list[Sparsity]:
    """Return candidates from large to small that an additive model of the loss takes to be Pareto-optimal.

    The loss of a candidate is taken to be the sum of what its groups cost when each is pruned alone (as in Li et al.
    2017 and NetAdapt, Yang et al. 2018). From the dense network on, the step that costs least loss for each halving of
    the size is taken, over and over: Everett's (1963) generalised Lagrange multipliers on a discrete grid.

    Args:
        losses: ``(sparsity, loss)`` of each group alone, the first of sparsity 0. Groups without stay whole.
        size: ``macs`` or ``params``.
        points: how many, evenly spread over the logarithm of the size.
    """
    costs = {name: _costs(sizes.levels(name), curve) for name, curve in losses.items()}
    now = dict.fromkeys(costs, 0)
    path = [(math.log(sizes.sizes({})[size]), _sparsity(sizes, now))]
    while (step := _cheapest_step(sizes, costs, now, size, path[-1][0])) is not None:
        now = now | {step[0]: step[1]}
        sparsity = _sparsity(sizes, now)
        path.append((math.log(sizes.sizes(sparsity)[size]), sparsity))
    wanted = np.linspace(path[0][0], path[-1][0], points + 1)[1:]
    found = [min(path, key=lambda entry: abs(entry[0] - target))[1] for target in wanted]
    return [sparsity for i, sparsity in enumerate(found) if sparsity not in found[:i]]


def first_candidates(
    sizes: SizeModel,
    losses: Mapping[str, Sequence[tuple[float, float]]],
    allocations: Sequence[Sparsity],
    template: Candidate,
    dispensable: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return parameter sets to try first, such that a few of them cover all sizes already, the smallest first.

    Where the template ties groups, these have one sparsity in all of them, and no allocation is among them.

    Args:
        losses: see :func:`predicted_front`.
        allocations: what published rules give (ERK, LAMP).
        template: has the criterion, the schedule, the blocks and the ties of them all.
        dispensable: residual blocks, the most dispensable first: up to half of them go in some candidates, without
            and with half of the channels.
    """
    if template.ties:
        tied = {TIE + kind: [group for group, own in sizes.kinds.items() if own == kind] for kind in template.ties}
        alone = [name for name in losses if not any(name in groups for groups in tied.values())]
        losses, allocations = tied_curves(losses, sizes, [*tied, *alone]), ()
    solved = _spread([each for size in ("macs", "params") for each in predicted_front(sizes, losses, size)[::-1]])
    uniform = _spread([dict.fromkeys(losses, level) for level in UNIFORM[::-1]])
    mixed = [each for row in zip_longest(solved, uniform, allocations) for each in row if each is not None]
    different: dict[tuple[int, ...], Sparsity] = {}
    for each in mixed:
        different.setdefault(tuple(sizes.kept(each).values()), each)
    whole = [replace(template, sparsity=each) for each in different.values()]
    shallower = [
        replace(
            template,
            blocks=dict(template.blocks) | dict.fromkeys(dispensable[:count], 1),
            sparsity=dict.fromkeys(losses, level),
        )
        for count in range(1, len(dispensable) // 2 + 1)
        for level in (0.0, 0.5)
    ]
    candidates = [each for pair in zip_longest(whole, shallower) for each in pair if each is not None]
    return [each.to_parameters() for each in candidates]


def _costs(levels: Sequence[float], curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return ``(sparsity, loss above the dense one's)`` at each level; it never falls with the sparsity."""
    sparsities, values = zip(*sorted(curve), strict=True)
    rising = np.maximum.accumulate(np.array(values) - values[0])
    usable = [level for level in levels if level <= sparsities[-1] + 1e-9]
    return [(level, float(np.interp(level, sparsities, rising))) for level in usable]


def _sparsity(sizes: SizeModel, now: Mapping[str, int]) -> Sparsity:
    return {name: round(sizes.levels(name)[i], 6) for name, i in now.items()}


def _cheapest_step(
    sizes: SizeModel, costs: Mapping[str, list[tuple[float, float]]], now: Mapping[str, int], size: str, log_size: float
) -> tuple[str, int] | None:
    """Return the group and the level that cost least loss for each halving of the size, or None at the end."""
    best, found = math.inf, None
    at = {name: costs[name][i][0] for name, i in now.items()}
    for name, i in now.items():
        for level in range(i + 1, len(costs[name])):
            saved = log_size - math.log(sizes.sizes(at | {name: costs[name][level][0]})[size])
            price = (costs[name][level][1] - costs[name][i][1]) / saved if saved > 1e-12 else math.inf
            if price < best:
                best, found = price, (name, level)
    return found


def _spread(items: list[Any]) -> list[Any]:
    """Return items reordered so that any first few of them are spread over all: by halving, as bits reversed."""
    bits = max(1, (len(items) - 1).bit_length())
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits)]
    return [items[i] for i in order if i < len(items)]
