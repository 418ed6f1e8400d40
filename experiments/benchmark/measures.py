"""What is compared: the hypervolume of a run's front over time, and its accuracies at given sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from results import Record
from scipy.stats import mannwhitneyu

from autoprune.report.progress import hypervolume
from autoprune.results.pareto import pareto_front

DROP = 0.2
"""The reference point lies this far below the dense accuracy, at the dense size."""
SMALLEST = 0.01
"""Sizes count down to this fraction of the dense one."""
SHARES = (0.5, 0.25, 0.1)
"""Of the dense MACs: where accuracies are compared."""


def volume(record: Record, trials: Iterable[Mapping[str, Any]], size: str, accuracy: str = "accuracy") -> float:
    """Return the share of the plane of (log ``size``, accuracy) that networks dominate.

    The plane reaches from the dense size to :data:`SMALLEST` of it, and from :data:`DROP` below the dense accuracy up
    to the dense accuracy. So 1 means the dense accuracy at a hundredth of the size; better than dense counts too.

    Args:
        size: ``macs`` or ``params``.
        accuracy: ``accuracy`` on the validation split, or ``test``.
    """
    dense = record["dense"]
    floor = dense[accuracy] - DROP
    points = [
        (max(0.0, 1 - math.log(trial[size] / dense[size]) / math.log(SMALLEST)), (trial[accuracy] - floor) / DROP)
        for trial in trials
    ]
    return hypervolume(points)


def volume_over_time(record: Record, size: str) -> list[tuple[float, float]]:
    """Return ``(seconds, hypervolume)`` whenever a run's hypervolume on the validation split grew."""
    front: list[Mapping[str, Any]] = []
    curve = [(0.0, 0.0)]
    for trial in record["trials"]:
        front = _front([*front, trial], size)
        now = volume(record, front, size)
        if now > curve[-1][1]:
            curve.append((trial["time"], now))
    return curve


def at_times(curve: Sequence[tuple[float, float]], times: np.ndarray) -> np.ndarray:
    """Return a curve's values at some times; it keeps its value until the next entry."""
    when, values = np.array(curve).T
    return values[np.searchsorted(when, times, side="right") - 1]


def time_to(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Return the first time at which a curve reaches a value, or infinity."""
    return next((time for time, value in curve if value >= target), math.inf)


def validation_volume(record: Record, size: str) -> float:
    """Return the hypervolume on the validation split at the end."""
    return volume_over_time(record, size)[-1][1]


def test_volume(record: Record, size: str) -> float:
    """Return the hypervolume on the test split of the front that was chosen on the validation split."""
    return volume(record, _front(record["trials"], size), size, "test")


def best_at(record: Record, share: float, size: str = "macs", accuracy: str = "test") -> float:
    """Return the accuracy of the network of at most this share of the dense size that is best on the validation split.

    NaN where a run has none so small.
    """
    limit = share * record["dense"][size]
    front = [trial for trial in _front(record["trials"], size) if trial[size] <= limit]
    return front[0][accuracy] if front else math.nan


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, lower and upper quartile; NaN counts as the worst, and infinities are not interpolated."""
    known = _worst_for_none(values)
    method = "linear" if np.isfinite(known).all() else "inverted_cdf"
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75), method=method)
    return float(middle), float(low), float(high)


def p_value(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the two-sided p-value of Mann and Whitney (1947) that two methods' values are alike; NaN if too few."""
    if min(len(values), len(others)) < 2:
        return math.nan
    return float(mannwhitneyu(_worst_for_none(values), _worst_for_none(others), alternative="two-sided").pvalue)


def _worst_for_none(values: Sequence[float]) -> np.ndarray:
    return np.nan_to_num(np.array(values, dtype=float), nan=-math.inf, posinf=math.inf, neginf=-math.inf)


def _front(trials: Sequence[Mapping[str, Any]], size: str) -> list[Mapping[str, Any]]:
    """Return the trials that no other beats on the validation split, the most accurate first."""
    return [trials[i] for i in pareto_front(dict(enumerate(trials)), ("accuracy", size))]
