"""Rungs of growing budget: asynchronous successive halving over several objectives.

Schmucker et al. 2021, Multi-objective Asynchronous Successive Halving (MO-ASHA), after Li et al. 2020 (ASHA):
whenever a place is free, a candidate among the best ``1 / reduction`` of its rung goes on with the next budget, and
only if there is none, a new one starts. Beyond the paper, no more than that share of a rung ever goes on: while the
best change, more would, and the next budget is many times the cost. Best is by constrained domination (Deb et al.
2002): front by front, within a front the loneliest first; then what violates a constraint, the least first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from autoprune.results.candidate import schedule_of


@dataclass(frozen=True)
class Judged:
    """A candidate's result on a rung.

    Args:
        key: what tells it from other candidates.
        costs: its objectives, the smaller the better.
        violation: how far it lies beyond the constraints in all; 0 if it keeps within them.
        can_rise: whether it may be promoted: its schedule has a further rung, and more training can mend what it lacks.
    """

    key: Hashable
    costs: tuple[float, ...]
    violation: float = 0.0
    can_rise: bool = True


UNTRAINED_FIRST = ("supernet",)
"""Schedules whose candidates are judged without any training steps of their own first: a supernet trained for them."""


def budgets(schedule: str, reduction: int = 3, recoveries: float = 1.0) -> tuple[float, ...]:
    """Return the budget of each rung, as multiples of the schedule's training steps.

    Args:
        recoveries: the last rung's where candidates are judged untrained first.
    """
    if schedule_of({"schedule": schedule}) in UNTRAINED_FIRST:
        return (0.0, recoveries)
    return (round(reduction**-2, 6), round(reduction**-1, 6), 1.0)


def rung_of(parameters: Mapping[str, Any], reduction: int = 3) -> int:
    """Return the rung that parameters with this ``budget`` belong to; without one they have the schedule's default."""
    schedule, budget = schedule_of(parameters), parameters.get("budget")
    steps = budgets(schedule, reduction)
    if budget is None:
        return 0 if schedule in UNTRAINED_FIRST else len(steps) - 1
    return min(range(len(steps)), key=lambda rung: abs(steps[rung] - budget))


def to_promote(
    judged: Sequence[Judged],
    promoted: Collection[Hashable],
    reduction: int = 3,
    size_of: Callable[[Hashable], float] = lambda key: 0.0,
) -> Judged | None:
    """Return the candidate of a rung that goes on next, or None.

    Args:
        judged: all of the rung's results.
        promoted: the keys of those that went on already, whatever became of them.
        size_of: of those that may go on the largest does; of equally large ones the best.
    """
    places = len(judged) // reduction
    if len(promoted) >= places:
        return None
    top = ranking(judged)[:places]
    free = [each for each in top if each.can_rise and each.key not in promoted]
    return max(free, key=lambda each: size_of(each.key), default=None)


def ranking(judged: Sequence[Judged]) -> list[Judged]:
    """Return results from the best to the worst."""
    feasible = [each for each in judged if each.violation <= 0]
    ordered: list[Judged] = []
    ranks = domination_ranks([each.costs for each in feasible])
    for rank in range(max(ranks, default=-1) + 1):
        front = [each for each, r in zip(feasible, ranks, strict=True) if r == rank]
        lonely = crowding_distances([each.costs for each in front])
        ordered += [front[i] for i in sorted(range(len(front)), key=lambda i: -lonely[i])]
    return ordered + sorted((each for each in judged if each.violation > 0), key=lambda each: each.violation)


def domination_ranks(costs: ArrayLike) -> list[int]:
    """Return for each point the number of its front: 0 for the non-dominated, 1 for those without these, and so on.

    Args:
        costs: (points, objectives), the smaller the better.
    """
    points = np.asarray(costs, dtype=float)
    if not len(points):
        return []
    no_worse = np.all(points[:, None] <= points[None], axis=-1)
    beats = no_worse & ~no_worse.T
    ranks, beaten_by, rank = np.full(len(points), -1), beats.sum(0), 0
    while len(front := np.flatnonzero((ranks < 0) & (beaten_by == 0))):
        ranks[front] = rank
        beaten_by -= beats[front].sum(0)
        rank += 1
    return [int(rank) for rank in ranks]


def crowding_distances(costs: Sequence[Sequence[float]]) -> list[float]:
    """Return how far each point of a front lies from its neighbours (Deb et al. 2002); infinite at the ends.

    Args:
        costs: (points, objectives).
    """
    distances = [0.0] * len(costs)
    for objective in range(len(costs[0]) if costs else 0):
        order = sorted(range(len(costs)), key=lambda i: costs[i][objective])
        values = [costs[i][objective] for i in order]
        width = values[-1] - values[0]
        if not width:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, i, after in zip(values, order[1:-1], values[2:], strict=False):
            distances[i] += (after - before) / width
    return distances
