"""Limits on a result in words, such as ``drop<=1%`` or ``macs<=20M``: for choosing a model, and for constraints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.errors import UserError, short

SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
FRACTION = {"": 1.0, "%": 0.01}
UNITS = {
    "drop": ("<", FRACTION),
    "accuracy": (">", FRACTION),
    "params": ("<", SCALE),
    "macs": ("<", SCALE),
    "bytes": ("<", SCALE),
    "latency_ms": ("<", {"": 1.0, "ms": 1.0}),
}
"""What can be limited -> the side on which it is, and what its units are worth. A drop is of the accuracy."""

EXAMPLES = "drop<=1%, accuracy>=0.98, macs<=20M (or params, bytes, latency_ms)"

_FORM = re.compile(r"\s*(\w+)\s*([<>])=?\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(%|[a-zA-Z]+)?\s*", re.ASCII)
_TOLERANCE = 1e-9  # 0.99 - 0.98 is a little more than 0.01


@dataclass(frozen=True)
class Limit:
    """One limit on a result.

    Args:
        words: as it was written.
        measure: a name in :data:`UNITS`.
        bound: the number, in the unit in which the measure is reported; drops and accuracies as fractions.
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
        measure = "latency_ms" if match[1] == "latency" else match[1]
        side, units = UNITS.get(measure, ("", {}))
        if match[2] != side or (match[4] or "") not in units:
            return None
        limit = cls(words.strip(), measure, float(match[3]) * units[match[4] or ""])
        if units is FRACTION and limit.bound > 1:
            raise UserError(f"{limit.words}: more than 100 %: write {measure}{side}={match[3]}%")
        if not math.isfinite(limit.bound):
            raise UserError(f"{limit.words}: must be a finite number")
        if limit.bound == 0 and measure != "drop":
            raise UserError(f"{limit.words}: must be more than 0")
        return limit

    def violation(self, measures: Mapping[str, float], dense_accuracy: float | None = None) -> float:
        """Return how far a result lies beyond the limit: 0 or less if it satisfies it.

        The excess is divided by the limit, so that the violations of different limits can be compared; that of a
        drop by at least one point, and that of an accuracy by the error that is allowed, or one point.

        Args:
            measures: must have :attr:`measure`; ``accuracy`` for a drop.
            dense_accuracy: of the dense model; needed for a drop.

        Raises:
            UserError: the limit is on the drop, and the dense accuracy is not known.
        """
        if self.measure == "drop":
            if dense_accuracy is None:
                raise UserError(f"{self.words}: the accuracy of the dense model is not known yet")
            return (dense_accuracy - measures["accuracy"] - self.bound - _TOLERANCE) / max(self.bound, 0.01)
        if self.measure == "accuracy":
            return (self.bound - measures["accuracy"] - _TOLERANCE) / max(1 - self.bound, 0.01)
        return (measures[self.measure] - self.bound) / self.bound


def read_limits(words: Sequence[str]) -> tuple[Limit, ...]:
    """Read the limits of a search.

    Raises:
        UserError: one cannot be read or means nothing, or two are on the same measure.
    """
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise UserError(f'constraints must be a list, such as ["drop<=1%", "macs<=20M"], not {words!r}')
    limits = []
    for each in words:
        limit = Limit.read(each) if isinstance(each, str) else None
        if limit is None:
            raise UserError(f"cannot read the constraint {short(each)}: write {EXAMPLES}")
        if limit.measure in [other.measure for other in limits]:
            raise UserError(f"constraints: there are two on {limit.measure}: keep one")
        limits.append(limit)
    return tuple(limits)


def satisfies(limits: Sequence[Limit], measures: Mapping[str, float], dense: Mapping[str, float] | None) -> bool:
    """Return whether a result keeps within all limits; a drop is beyond its limit as long as ``dense`` is not known."""
    if dense is None and any(limit.measure == "drop" for limit in limits):
        return False
    return all(limit.violation(measures, dense and dense["accuracy"]) <= 0 for limit in limits)
