"""Which results are Pareto-optimal, and choosing one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from autoprune.errors import UserError

DIRECTIONS = {
    "accuracy": "maximize",
    "params": "minimize",
    "macs": "minimize",
    "bytes": "minimize",
    "latency_ms": "minimize",
}
"""What can be an objective, and which way is better."""

DEFAULT_OBJECTIVES = ("accuracy", "macs")

Key = TypeVar("Key")


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Return the objectives as a tuple.

    Raises:
        UserError: one is unknown, or none is given.
    """
    unknown = [name for name in objectives if name not in DIRECTIONS]
    if unknown or not objectives:
        raise UserError(f"unknown objective {', '.join(map(repr, unknown)) or '(none)'}: use {', '.join(DIRECTIONS)}")
    return tuple(objectives)


def pareto_front(
    measures: Mapping[Key, Mapping[str, float]], objectives: Sequence[str] = DEFAULT_OBJECTIVES
) -> list[Key]:
    """Return the keys of the non-dominated results, the best in the first objective first.

    Of results equal in every objective the first one stands for all.
    """
    points = {key: costs(m, objectives) for key, m in measures.items()}
    front: dict[tuple[float, ...], Key] = {}
    for key, point in points.items():
        dominated = any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )
        if not dominated:
            front.setdefault(point, key)
    return [front[point] for point in sorted(front)]


def costs(measures: Mapping[str, float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Return the objectives' values as costs: those to be maximised are negated."""
    return tuple(-measures[name] if DIRECTIONS[name] == "maximize" else measures[name] for name in objectives)


def choose(
    rule: str, measures: Mapping[Key, Mapping[str, float]], dense: Mapping[str, float], objectives: Sequence[str]
) -> Key:
    """Pick one result by a rule.

    Args:
        rule: ``drop<=1%`` (the smallest by the second objective within one percentage point of the dense accuracy),
            ``MEASURE<=NUMBER`` (the most accurate within that), ``knee`` (farthest from the line between the front's
            ends), or a key.
        measures: the front's measures.

    Raises:
        UserError: the rule is not understood, or nothing satisfies it.
    """
    if rule in measures:
        return rule  # type: ignore[return-value]
    if not measures:
        raise UserError("no trial has succeeded yet: there is nothing to choose from")
    size = next((name for name in objectives if name != "accuracy"), "params")
    bound = re.fullmatch(r"\s*(\w+)\s*<=?\s*([\d.eE+]+)\s*([kKMG]|ms|%)?\s*", rule)
    if rule == "knee":
        return _knee(measures, size)
    if bound and bound[1] == "drop":
        drop = float(bound[2]) / (100 if bound[3] == "%" else 1)
        fit = [k for k, m in measures.items() if dense["accuracy"] - m["accuracy"] <= drop + 1e-9]
        best = min(fit, key=lambda k: (measures[k][size], -measures[k]["accuracy"]), default=None)
    elif bound and bound[1] in DIRECTIONS and bound[1] != "accuracy":
        limit = float(bound[2]) * {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}.get(bound[3], 1)
        fit = [k for k, m in measures.items() if m[bound[1]] <= limit]
        best = max(fit, key=lambda k: (measures[k]["accuracy"], -measures[k][size]), default=None)
    else:
        rules = "drop<=1%, knee, macs<=20M (or params, bytes, latency_ms), or a trial's id"
        raise UserError(f"cannot choose by {rule!r}: use {rules}")
    if best is None:
        raise UserError(f"no trial satisfies {rule}: loosen it, or search longer")
    return best


def _knee(measures: Mapping[Key, Mapping[str, float]], size: str) -> Key:
    xs = {key: math.log(m[size]) for key, m in measures.items()}
    ys = {key: m["accuracy"] for key, m in measures.items()}
    (x0, x1), (y0, y1) = ((min(v.values()), max(v.values())) for v in (xs, ys))
    if x0 == x1 or y0 == y1:
        return min(measures, key=lambda k: (-ys[k], xs[k]))
    return max(measures, key=lambda k: (ys[k] - y0) / (y1 - y0) - (xs[k] - x0) / (x1 - x0))
