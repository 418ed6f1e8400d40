"""Pruning schedules by name: in how many rounds a network reaches its sparsity, and how it is trained in between.

A new one is a small file with a :class:`Schedule`, and a line in :data:`SCHEDULES`.
"""

from __future__ import annotations

from autoprune.base.registry import Registry
from autoprune.errors import UserError
from autoprune.prune.criteria import Criterion
from autoprune.prune.schedules.base import Schedule
from autoprune.results.candidate import FORMER_SCHEDULES

__all__ = ["SCHEDULES", "Schedule", "check_blocks", "check_initial", "check_pair", "get_schedule"]

SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    {
        "one_shot": "autoprune.prune.schedules.recovering:ONE_SHOT",
        "supernet": "autoprune.prune.schedules.recovering:SUPERNET",
        "iterative": "autoprune.prune.schedules.recovering:ITERATIVE",
        "linear": "autoprune.prune.schedules.recovering:LINEAR",
        "gradual": "autoprune.prune.schedules.recovering:GRADUAL",
        "agp": "autoprune.prune.schedules.recovering:AGP",
        "lottery_ticket": "autoprune.prune.schedules.lottery:LOTTERY_TICKET",
        "lottery_ticket_late": "autoprune.prune.schedules.lottery:LOTTERY_TICKET_LATE",
        "lr_rewinding": "autoprune.prune.schedules.lottery:LR_REWINDING",
        "from_scratch": "autoprune.prune.schedules.from_scratch:FROM_SCRATCH",
        "set": "autoprune.prune.schedules.from_scratch:SET",
        "rigl": "autoprune.prune.schedules.from_scratch:RIGL",
    },
    "autoprune.schedules",
    FORMER_SCHEDULES,
)

_UNITS = {"channel": "whole channels", "kernel": "whole kernels", "2:4": "two of four weights"}


def get_schedule(name: str) -> Schedule:
    """Return the schedule called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    return SCHEDULES[name]


def check_blocks(name: str) -> None:
    """Check that whole blocks can be dropped on the schedule called ``name``.

    Raises:
        UserError: they cannot, with the reason.
    """
    if get_schedule(name).grow:
        raise UserError(
            f"schedule {name} moves single weights about, so it drops no whole blocks: use supernet, one_shot or "
            "gradual with block.NAME"
        )


def check_initial(name: str) -> None:
    """Check that the schedule called ``name`` can do without the weights before training.

    Raises:
        UserError: it cannot, with the reason.
    """
    if get_schedule(name).needs_initial:
        raise UserError(
            f"schedule {name} needs the weights before training, which --checkpoint does not hold: name them too, with "
            "--initial FILE, or use a schedule that starts from the trained ones, such as supernet, one_shot or gradual"
        )


def check_pair(schedule: str, criterion: str, found: Criterion) -> None:
    """Check that the schedule can be carried out with the criterion.

    Raises:
        UserError: it cannot, with the reason.
    """
    found_schedule = get_schedule(schedule)
    if found_schedule.retrain == "supernet" and not found.structured:
        raise UserError(
            f"schedule {schedule} recovers all channel candidates at once, but criterion {criterion} removes no whole "
            f"channels: use l1_norm with it, or another schedule with {criterion}"
        )
    if found_schedule.grow and found.granularity != "weight":
        what = _UNITS.get(found.granularity, f"weights in the pattern {found.granularity}")
        raise UserError(
            f"schedule {schedule} moves single weights about, but criterion {criterion} removes {what}: "
            f"use level with it, or another schedule with {criterion}"
        )
