"""Limits on a result in words, such as ``drop<=1%`` or ``macs<=20M``: for choosing a model, and for constraints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.errors import UserError, short
from autoprune.results.measures import FRACTION, MEASURES, METRIC, SIZES, Measure, named, value_of

DROP = "drop"
"""What limits call the distance of the metric from the dense model's; see :meth:`.Measure.drop`."""

_FORM = re.compile(r"\s*(\w+)\s*([<>])=?\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(%|[a-zA-Z]+)?\s*", re.ASCII)
_TOLERANCE = 1e-9  # 0.99 - 0.98 is a little more than 0.01


def examples(metric: Measure = METRIC) -> str:
    """Return limits as one may write them, where ``metric`` judges."""
    bound = "NUMBER"
    if metric.is_share:
        bound = "0.98" if metric.direction == "maximize" else "0.02"
    sizes = ", ".join(name for name in SIZES if name != "macs")
    return f"{DROP}<=1%, {metric.name}{metric.side}={bound}, macs<=20M (or {sizes})"


@dataclass(frozen=True)
class Limit:
    """One limit on a result.

    Args:
        words: as it was written.
        measure: the name of a measure, or :data:`DROP`.
        bound: the number, in the unit in which the measure is reported; a drop as a fraction.
    """

    words: str
    measure: str
    bound: float

    @classmethod
    def read(cls, words: str) -> Limit | None:
        """Read ``MEASURE<=NUMBER[UNIT]`` (``accuracy>=...``), or return None if that is not the form of the words.

        Raises:
            UserError: the number means nothing.
        """
        match = _FORM.fullmatch(words)
        if match is None:
            return None
        found = named(match[1])
        if found is None and match[1] != DROP:
            return None
        measure, side, suffixes = (found.name, found.side, found.suffixes) if found else (DROP, "<", FRACTION)
        if match[2] != side or (match[4] or "") not in suffixes:
            return None
        limit = cls(words.strip(), measure, float(match[3]) * suffixes[match[4] or ""])
        if suffixes is FRACTION and limit.bound > 1:
            raise UserError(f"{limit.words}: more than 100 %: write {measure}{side}={match[3]}%")
        if not math.isfinite(limit.bound):
            raise UserError(f"{limit.words}: must be a finite number")
        if limit.bound == 0 and measure != DROP:
            raise UserError(f"{limit.words}: must be more than 0")
        return limit

    def violation(
        self, measures: Mapping[str, float], dense_value: float | None = None, metric: Measure = METRIC
    ) -> float:
        """Return how far a result lies beyond the limit: 0 or less if it satisfies it.

        The excess is divided by the limit, so that the violations of different limits can be compared; that of a
        drop by at least one point, and that of a fraction by the error that is allowed, or one point.

        Args:
            measures: must have :attr:`measure`; the metric for a drop.
            dense_value: the metric of the dense model; needed for a drop.
            metric: the measure that judges.

        Raises:
            UserError: the limit is on the drop, and the dense model's metric is not known.
        """
        if self.measure == DROP:
            if dense_value is None:
                raise UserError(f"{self.words}: the {metric.noun} of the dense model is not known yet")
            excess = metric.drop(measures[metric.name], dense_value) - self.bound
            return (excess - _TOLERANCE) / max(self.bound, 0.01)
        measure = MEASURES[self.measure]
        excess = measure.cost(value_of(measures, self.measure)) - measure.cost(self.bound)
        if measure.is_share and measure.ideal is not None:
            return (excess - _TOLERANCE) / max(abs(measure.ideal - self.bound), 0.01)
        return excess / self.bound


def read_limits(words: Sequence[str], metric: Measure = METRIC) -> tuple[Limit, ...]:
    """Read the limits of a search that ``metric`` judges.

    Raises:
        UserError: one cannot be read or means nothing, or two are on the same measure.
    """
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise UserError(f'constraints must be a list, such as ["drop<=1%", "macs<=20M"], not {words!r}')
    limits: list[Limit] = []
    for each in words:
        limit = Limit.read(each) if isinstance(each, str) else None
        if limit is None:
            raise UserError(f"cannot read the constraint {short(each)}: write {examples(metric)}")
        if limit.measure in [other.measure for other in limits]:
            raise UserError(f"constraints: there are two on {limit.measure}: keep one")
        limits.append(limit)
    return tuple(limits)


def satisfies(
    limits: Sequence[Limit],
    measures: Mapping[str, float],
    dense: Mapping[str, float] | None,
    metric: Measure = METRIC,
) -> bool:
    """Return whether a result keeps within all limits; a drop is beyond its limit as long as ``dense`` is not known."""
    if dense is None and any(limit.measure == DROP for limit in limits):
        return False
    dense_value = None if dense is None else dense[metric.name]
    return all(limit.violation(measures, dense_value, metric) <= 0 for limit in limits)
