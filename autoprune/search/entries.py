"""Single entries of a search space: ``{_type: ..., _value: [...]}``, as NNI defines them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from autoprune.errors import UserError, short

KINDS = {
    "choice": "the values themselves, one or more",
    "randint": "lowest, and the first that is too high",
    "uniform": "lowest, highest",
    "quniform": "lowest, highest, step",
    "loguniform": "lowest, highest",
    "qloguniform": "lowest, highest, step",
    "normal": "mean, standard deviation",
    "qnormal": "mean, standard deviation, step",
    "lognormal": "mean, standard deviation",
    "qlognormal": "mean, standard deviation, step",
}
"""NNI's types of entries -> what their values are."""

SPARSITIES = ("quniform", "uniform", "choice", "loguniform", "qloguniform")
"""Those that keep within a range, as a sparsity must."""

MOST_STEPS = 10_000


def check_entry(label: str, entry: Any, kinds: Sequence[str] = tuple(KINDS)) -> None:
    """Check that an entry has a type, and values that mean something to it.

    Args:
        label: what a message calls it.
        kinds: the types that it may have.

    Raises:
        UserError: it does not.
    """
    if not isinstance(entry, dict) or set(entry) != {"_type", "_value"} or not isinstance(entry["_value"], list):
        raise UserError(f"{label} must be {{_type: ..., _value: [...]}}, not {short(entry)}")
    kind, values = entry["_type"], entry["_value"]
    if not isinstance(kind, str) or kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, 1) if isinstance(kind, str) else []
        raise UserError(f"{label} has the _type {short(kind)}: use {', '.join(near or kinds)}")
    if kind == "choice":
        _check_choices(label, values)
    else:
        _check_numbers(label, kind, values)


def check_sparsities(label: str, entry: Any) -> None:
    """Check an entry whose values are sparsities.

    Raises:
        UserError: it is malformed, or one is outside [0, 1).
    """
    check_entry(label, entry, SPARSITIES)
    for value in entry["_value"] if entry["_type"] == "choice" else entry["_value"][:2]:
        if not _is_number(value) or not 0 <= round(value, 6) < 1:
            raise UserError(f"{label} reaches {short(value)}: a sparsity must lie in [0, 1)")


def check_block(label: str, entry: Any) -> None:
    """Check the entry of a residual block.

    Raises:
        UserError: it is no choice of 0 and 1.
    """
    right = isinstance(entry, dict) and entry.get("_type") == "choice" and isinstance(entry.get("_value"), list)
    if not right or any(not _is_number(value) or value not in (0, 1) for value in entry["_value"]):
        raise UserError(f"{label} must be {{_type: choice, _value: [0, 1]}}")
    check_entry(label, entry, ("choice",))


def _check_choices(label: str, values: list[Any]) -> None:
    if not values:
        raise UserError(f"{label} is a choice of nothing: give it values, or take it out")
    for i, value in enumerate(values):
        if not isinstance(value, str) and not _is_number(value):
            raise UserError(f"{label} offers {short(value)}: a choice is of texts and finite numbers")
        if value in values[:i]:
            raise UserError(f"{label} offers {short(value)} twice")


def _check_numbers(label: str, kind: str, values: list[Any]) -> None:
    wanted = KINDS[kind].split(", ")
    if len(values) != len(wanted):
        raise UserError(f"{label}: {kind} takes {len(wanted)} values, [{KINDS[kind]}], not {len(values)}")
    for value in values:
        if not _is_number(value) or (kind == "randint" and not isinstance(value, int)):
            what = "whole" if kind == "randint" else "finite"
            raise UserError(f"{label}: {kind} takes {what} numbers, not {short(value)}")
    first, second, *step = values
    if "normal" in kind:
        if second <= 0:
            raise UserError(f"{label}: the standard deviation must be above 0, not {short(second)}")
    elif first >= second:
        raise UserError(f"{label}: the lowest value, {first}, must be below the highest, {second}; or use choice")
    elif kind in ("loguniform", "qloguniform") and first <= 0:
        raise UserError(f"{label}: {kind} must begin above 0, not at {first}")
    if step:
        _check_step(label, step[0], None if "normal" in kind else second - first)


def _check_step(label: str, step: float, width: float | None) -> None:
    if step <= 0:
        raise UserError(f"{label}: the step must be above 0, not {step}")
    if width is not None and step > width * (1 + 1e-9):
        raise UserError(f"{label}: the step, {step}, is larger than the range, {width:g}")
    if width is not None and width / step > MOST_STEPS:
        raise UserError(f"{label}: the step, {step}, makes more than {MOST_STEPS:,} values of the range")


def _is_number(value: Any) -> bool:
    """Say whether a value is a finite number (whole ones can be larger than any float, and booleans are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
