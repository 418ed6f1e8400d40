"""Which networks keep a promise, given that it was measured on some examples only, and of several networks."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import TypeVar

from autoprune.errors import UserError

DEFAULT = 0.9

Key = TypeVar("Key")


def check_confidence(confidence: float) -> float:
    """Return the confidence.

    Raises:
        UserError: it is neither 0 nor in [0.5, 1).
    """
    if confidence != 0 and not 0.5 <= confidence < 1:
        raise UserError(
            f"--confidence must be 0 (take the values as measured) or from 0.5 to below 1, not {confidence:g}"
        )
    return confidence


def kept(drops: Mapping[Key, tuple[float, float]], bound: float, confidence: float) -> set[Key]:
    """Return the networks whose true drop is at most ``bound``: with this confidence, that is true of all of them.

    The fallback procedure (Wiens 2003): each network is tested with its share of the error that is allowed, and hands
    that on to the next one if it passes. Whatever is then chosen among them, the promise holds.

    Args:
        drops: the measured drop and its standard error, in an order that does not depend on them.
        bound: the most that the drop may be.
        confidence: in [0.5, 1).
    """
    share, at_hand, found = (1 - confidence) / max(1, len(drops)), 0.0, set()
    for key, (drop, error) in drops.items():
        at_hand += share
        if at_most(drop, error, 1 - at_hand) <= bound + 1e-9:
            found.add(key)
        else:
            at_hand = 0.0
    return found


def at_most(drop: float, error: float, confidence: float) -> float:
    """Return what the true drop does not exceed, with a confidence in (0, 1), by the normal approximation."""
    return drop + NormalDist().inv_cdf(confidence) * error
