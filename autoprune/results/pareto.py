"""Which results are Pareto-optimal, and choosing one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from autoprune.errors import UserError, short
from autoprune.results.limits import DROP, Limit, examples
from autoprune.results.measures import MEASURES, METRIC, METRICS, Measure, value_of

DEFAULT_OBJECTIVES = (METRIC.name, "macs")

Key = TypeVar("Key")


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Return the objectives as a tuple.

    Raises:
        UserError: they are no list, one is unknown or there twice, or none is given.
    """
    if isinstance(objectives, str) or not isinstance(objectives, Sequence):
        raise UserError(
            f"objectives must be a list, such as [{', '.join(DEFAULT_OBJECTIVES)}], not {short(objectives)}"
        )
    unknown = [name for name in objectives if not isinstance(name, str) or name not in MEASURES]
    if unknown or not objectives:
        raise UserError(f"unknown objective {', '.join(map(short, unknown)) or '(none)'}: use {', '.join(MEASURES)}")
    if len(set(objectives)) < len(objectives):
        raise UserError(f"objectives must be there once each, not {short(objectives)}")
    return tuple(objectives)


def pareto_front(
    measures: Mapping[Key, Mapping[str, float]], objectives: Sequence[str] = DEFAULT_OBJECTIVES
) -> list[Key]:
    """Return the keys of the non-dominated results, the best in the first objective first.

    Of results equal in every objective the first one stands for all.
    """
    points = {key: costs(m, objectives) for key, m in measures.items()}
    front: list[Key] = []
    for key in sorted(points, key=points.__getitem__):  # whatever dominates a point comes before it
        # Of two objectives, the last of the front so far is the best in the second one.
        rivals = front[-1:] if len(objectives) == 2 else front
        if not any(all(a <= b for a, b in zip(points[other], points[key], strict=True)) for other in rivals):
            front.append(key)
    return front


def costs(measures: Mapping[str, float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Return the objectives' values as costs: those to be maximised are negated."""
    return tuple(MEASURES[name].cost(value_of(measures, name)) for name in objectives)


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """Return the area that points dominate, over the reference point (1, 0).

    Args:
        points: ``(cost, gain)`` pairs; those of a cost above 1 add nothing.
    """
    area = best = 0.0
    for cost, gain in sorted(points):
        if cost < 1 and gain > best:
            area += (1 - cost) * (gain - best)
            best = gain
    return area


def read_rule(rule: str, metric: Measure = METRIC) -> Limit | None:
    """Read a rule that is no key: a limit, or None for ``knee``.

    Args:
        metric: the measure that judges.

    Raises:
        UserError: the rule is not understood, or names another metric.
    """
    limit = Limit.read(rule)
    strange = limit is not None and limit.measure in METRICS and limit.measure != metric.name
    if strange or (limit is None and rule.strip() != "knee"):
        raise UserError(f"cannot choose by {short(rule)}: use {examples(metric)}, knee, or a trial's id")
    return limit


def choose(
    rule: str,
    measures: Mapping[Key, Mapping[str, float]],
    dense: Mapping[str, float],
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    metric: Measure = METRIC,
) -> Key:
    """Pick one result by a rule.

    Args:
        rule: a limit (see :mod:`autoprune.results.limits`): on the drop or the metric it picks the smallest by the
            first objective that is not the metric, on a size the one of the best metric; ``knee`` (farthest from the
            line between the front's ends); or a key.
        measures: the front's measures.
        metric: the measure that judges.

    Raises:
        UserError: the rule is not understood, or nothing satisfies it.
    """
    if rule in measures:
        return rule  # type: ignore[return-value]
    if not measures:
        raise UserError("no trial has succeeded yet: there is nothing to choose from")
    size = size_of(objectives, "params", metric)
    limit = read_rule(rule, metric)
    if limit is None:
        return _knee(measures, size, metric)
    fit = [key for key, m in measures.items() if limit.violation(m, dense.get(metric.name), metric) <= 0]
    first = (size, metric.name) if limit.measure in (DROP, metric.name) else (metric.name, size)
    best = min(fit, key=lambda key: costs(measures[key], first), default=None)
    if best is None:
        raise UserError(f"no trial satisfies {rule}: loosen it, or search longer")
    return best


def size_of(objectives: Iterable[str], otherwise: str = "macs", metric: Measure = METRIC) -> str:
    """Return the first objective that is not the metric."""
    return next((name for name in objectives if name != metric.name), otherwise)


def _knee(measures: Mapping[Key, Mapping[str, float]], size: str, metric: Measure) -> Key:
    xs = {key: math.log(m[size]) for key, m in measures.items()}
    ys = {key: -metric.cost(m[metric.name]) for key, m in measures.items()}
    (x0, x1), (y0, y1) = ((min(v.values()), max(v.values())) for v in (xs, ys))
    if x0 == x1 or y0 == y1:
        return min(measures, key=lambda k: (-ys[k], xs[k]))
    return max(measures, key=lambda k: (ys[k] - y0) / (y1 - y0) - (xs[k] - x0) / (x1 - x0))
