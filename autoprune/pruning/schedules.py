"""Pruning schedules by name: in how many rounds a network reaches its sparsity, and whether it is rewound between."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from autoprune.errors import UserError


@dataclass(frozen=True)
class Schedule:
    """Rounds of pruning, each followed by training.

    Args:
        rounds: how many.
        at: ``at(sparsity, t)`` is the sparsity to reach at ``t`` in (0, 1], of a target ``sparsity``.
        rewind: after each round the surviving weights go back to their values at initialisation and the network is
            trained in full; otherwise it is fine-tuned from where it is, the recovery steps shared among the rounds.
        paper: where it is from.
    """

    rounds: int
    at: Callable[[float, float], float]
    rewind: bool
    paper: str


SCHEDULES = {
    "one_shot": Schedule(1, lambda sparsity, t: sparsity, False, "prune once, then fine-tune"),
    "gradual": Schedule(
        3, lambda sparsity, t: sparsity * (1 - (1 - t) ** 3), False, "Zhu & Gupta 2017, To Prune, or Not to Prune"
    ),
    "lottery_ticket": Schedule(
        3, lambda sparsity, t: 1 - (1 - sparsity) ** t, True, "Frankle & Carbin 2019, The Lottery Ticket Hypothesis"
    ),
}


def get_schedule(name: str) -> Schedule:
    """Return the schedule called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    if name not in SCHEDULES:
        near = difflib.get_close_matches(str(name), SCHEDULES) or SCHEDULES
        raise UserError(f"unknown schedule {name!r}: use {', '.join(near)}")
    return SCHEDULES[name]
