"""Stopping hopeless trials early, by several objectives at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoprune.base.checked import Count, Share, check
from autoprune.results.measures import MEASURES, SIZES
from autoprune.results.pareto import DEFAULT_OBJECTIVES, check_objectives

Point = dict[str, float]
"""An intermediate result: the objectives, and the ``budget`` that the trial may spend."""


class Assessor(ABC):
    """Says of running trials whether they go on (see :class:`autoprune.nni.tuners.ServedAssessor`)."""

    @abstractmethod
    def goes_on(self, trial: str, history: Sequence[Any]) -> bool:
        """Judge a running trial by its intermediate results, the oldest first."""

    @abstractmethod
    def end(self, trial: str, succeeded: bool) -> None:
        """Take note that a trial has ended."""


class ParetoAssessor(Assessor):
    """Stop a trial that even with the best luck seen so far would end clearly behind a finished one.

    A trial's latest intermediate result is taken to improve, until its end, as much as a high quantile of the finished
    trials did from the same round on: the metric by what they gained, a size by the ratio to which theirs shrank. If a
    finished trial is then still no larger in any size, and better by ``margin``, the trial is stopped. (Without the
    metric among the objectives: smaller in all by the fraction ``margin``.)

    Trials report dictionaries that have every objective; others are never stopped. If they also report their
    ``budget``, they are measured only against trials that had no more. NNI shows assessors intermediate results alone,
    so a trial's last one counts as its final result, and after a resume the assessor begins anew.

    Args:
        objectives: names in :data:`autoprune.results.measures.MEASURES`.
        min_trials: finished trials that must have gone on from a round before any trial is stopped there.
        quantile: of the gains seen; 1 is the largest.
        margin: of the metric, as a limit on the drop counts it: points of a share, else a share of the value.

    Raises:
        UserError: an unknown objective, or a number out of its range.
    """

    def __init__(
        self,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        min_trials: int = 5,
        quantile: float = 0.9,
        margin: float = 0.01,
    ) -> None:
        self.validate(objectives, min_trials, quantile, margin)
        self.objectives = tuple(objectives)
        self.min_trials, self.quantile, self.margin = min_trials, quantile, margin
        self._running: dict[str, list[Point]] = {}
        self._finished: list[list[Point]] = []

    @staticmethod
    def validate(
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        min_trials: int = 5,
        quantile: float = 0.9,
        margin: float = 0.01,
    ) -> None:
        """Check the arguments of the constructor.

        Raises:
            UserError: one is wrong.
        """
        check_objectives(objectives)
        check("assessor: min_trials", min_trials, Count)
        check("assessor: quantile", quantile, Share)
        check("assessor: margin", margin, Share)

    @staticmethod
    def check_search(space: Mapping[str, Any], warm_start: bool, **arguments: Any) -> None:
        """Check the constructor's arguments; any search will do.

        Raises:
            UserError: one is wrong.
        """
        ParetoAssessor.validate(**arguments)

    def goes_on(self, trial: str, history: Sequence[Any]) -> bool:
        """Return False for a trial that is hopeless."""
        points = [self._point(each) for each in history]
        if any(point is None for point in points):
            self._running.pop(trial, None)
            return True
        self._running[trial] = [point for point in points if point is not None]
        return not self._hopeless(self._running[trial])

    def end(self, trial: str, succeeded: bool) -> None:
        """Count the trial's last intermediate result as its final one, if it succeeded."""
        history = self._running.pop(trial, None)
        if succeeded and history:
            self._finished.append(history)

    def _point(self, value: Any) -> Point | None:
        if not isinstance(value, Mapping):
            return None
        budget = value.get("budget")
        point = {name: value.get(name) for name in self.objectives} | {"budget": 1.0 if budget is None else budget}
        finite = all(isinstance(v, int | float) and math.isfinite(v) for v in point.values())
        return {name: float(v) for name, v in point.items()} if finite else None  # type: ignore[arg-type]

    def _hopeless(self, history: Sequence[Point]) -> bool:
        now, rounds = history[-1], len(history)
        rivals = [each for each in self._finished if each[-1]["budget"] <= now["budget"] + 1e-9]
        longer = [each for each in rivals if len(each) >= rounds]
        if len(longer) < self.min_trials:
            return False
        best = {name: self._at_best(name, now[name], rounds - 1, longer) for name in self.objectives}
        return any(self._clearly_beats(each[-1], best) for each in rivals)

    def _at_best(self, name: str, value: float, step: int, seen: Sequence[Sequence[Point]]) -> float:
        """Return what ``value`` may become until the end; it is never taken to get worse."""
        if name not in SIZES:
            sign = -MEASURES[name].cost(1.0)  # 1 for what is maximised
            gains = [sign * (each[-1][name] - each[step][name]) for each in seen]
            return value + sign * max(0.0, float(np.quantile(gains, self.quantile)))
        ratios = [each[-1][name] / each[step][name] for each in seen if each[step][name] > 0]
        return value * min([1.0, *([float(np.quantile(ratios, 1 - self.quantile))] if ratios else [])])

    def _clearly_beats(self, finished: Point, best: Point) -> bool:
        sizes = [name for name in self.objectives if name in SIZES]
        metrics = [MEASURES[name] for name in self.objectives if name not in SIZES]
        allowed = 1.0 if metrics else 1 - self.margin
        return all(finished[name] <= best[name] * allowed for name in sizes) and all(
            metric.drop(best[metric.name], finished[metric.name]) > self.margin + 1e-9 for metric in metrics
        )
