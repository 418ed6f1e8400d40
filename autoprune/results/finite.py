"""Measures that are finite numbers: no comparison with any other means anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from autoprune.errors import TrialFailure

Measures = TypeVar("Measures", bound=Mapping[str, float])


def is_finite(value: Any) -> bool:
    """Return whether ``value`` is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def why_not(measures: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first measure that is not a finite number, or None."""
    return next(
        (f"{name} is {each}, not a finite number" for name, each in measures.items() if not is_finite(each)), None
    )


def checked(measures: Measures) -> Measures:
    """Return the measures as they are.

    Raises:
        TrialFailure: one is not a finite number.
    """
    wrong = why_not(measures)
    if wrong:
        raise TrialFailure(wrong)
    return measures
