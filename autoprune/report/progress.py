"""How the front of a search grew."""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoprune.results.experiment import Experiment, Trial
from autoprune.results.pareto import hypervolume


def hypervolume_by_trial(experiment: Experiment, size: str = "macs") -> list[float]:
    """Return the hypervolume of (metric, ``size``) after each candidate, in the order in which they ended.

    Sizes are divided by the dense model's, and the reference point is a gain of 0 (see
    :meth:`.Measure.gain`) at the dense model's size, so that the value lies in [0, 1] where the metric is a fraction,
    and searches of the same task can be compared. Baselines do not count.
    """
    dense, metric = experiment.dense, experiment.metric
    if dense is None:
        return []
    ordered = by_end(experiment.candidates)
    points = [(trial.measures[size] / dense[size], metric.gain(trial.quality, dense[metric.name])) for trial in ordered]
    front: list[tuple[float, float]] = []  # what others dominate adds nothing
    values: list[float] = []
    for cost, gain in points:
        if not any(a <= cost and b >= gain for a, b in front):
            front = [(a, b) for a, b in front if a < cost or b > gain] + [(cost, gain)]
            values.append(hypervolume(front))
        else:
            values.append(values[-1])
    return values


def by_end(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials in the order in which they ended; those that have not come last."""
    return sorted(trials, key=lambda trial: (trial.ended or math.inf, trial.sequence))


def doing(experiment: Experiment, most: int = 3) -> list[str]:
    """Return what the trials that have run longest are doing, a line each."""
    said = ((trial, trial.doing) for trial in experiment.running)
    return [f"trial {trial.id}: {words}" for trial, words in said if words][:most]


def best_so_far(experiment: Experiment, most: int = 3) -> str:
    """Return the first of the front in the measures that are searched for: ``front 99.7%@196k 98.9%@88k``."""
    searched = experiment.searched
    points = ["@".join(each.write(trial.metrics[each.name]) for each in searched) for trial in experiment.front()]
    return f"front {' '.join(point.replace(' ', '') for point in points[:most])}" if points else ""
