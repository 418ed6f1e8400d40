"""Pruning schedules by name: in how many rounds a network reaches its sparsity, and how it is trained in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autoprune.errors import UserError, unknown
from autoprune.prune.criteria import Criterion


def at_once(sparsity: float, t: float) -> float:
    """Return the whole sparsity, at any time."""
    return sparsity


def linear(sparsity: float, t: float) -> float:
    """Return a sparsity that grows evenly."""
    return sparsity * t


def cubic(sparsity: float, t: float) -> float:
    """Return a sparsity that grows fast first, then slower (Zhu & Gupta 2017)."""
    return sparsity * (1 - (1 - t) ** 3)


def geometric(sparsity: float, t: float) -> float:
    """Return a sparsity whose every round removes the same fraction of what is left (Frankle & Carbin 2019)."""
    return 1 - (1 - sparsity) ** t


@dataclass(frozen=True)
class Schedule:
    """Rounds of pruning, each followed by training.

    Args:
        paper: where it is from.
        rounds: how many.
        at: ``at(sparsity, t)`` is the sparsity to reach at ``t`` in (0, 1], of a target ``sparsity``.
        start: the network that is pruned first: the trained dense one, or the untrained one.
        retrain: what follows each round: ``recovery``, whose steps the rounds share; ``training``, in full, with the
            learning rate back at its start; or ``shared``, the weights of one recovery of all candidates.
        rewind_to: the point of the dense network's training, in [0, 1), to whose weights the surviving ones go back
            after each round: 0 is their initialisation. None leaves them as they are.
        grow: of dynamic sparse training, where pruned weights come back: by chance, or where the gradient is largest.
    """

    paper: str
    rounds: int = 1
    at: Callable[[float, float], float] = at_once
    start: Literal["trained", "untrained"] = "trained"
    retrain: Literal["recovery", "training", "shared"] = "recovery"
    rewind_to: float | None = None
    grow: Literal["random", "gradient"] | None = None

    @property
    def needs_initial(self) -> bool:
        """Whether it begins with the weights before training, or goes back towards them."""
        return self.start == "untrained" or self.rewind_to is not None

    def times(self) -> list[float]:
        """Return the end of each round, in (0, 1]."""
        return [number / self.rounds for number in range(1, self.rounds + 1)]


_LOTTERY = {"rounds": 3, "at": geometric, "retrain": "training"}

SCHEDULES = {
    "one_shot": Schedule("prune once, then fine-tune: Li et al. 2017"),
    "shared": Schedule("Yu & Huang 2019, Universally Slimmable Networks and Improved Training", retrain="shared"),
    "iterative": Schedule("Han et al. 2015, Learning both Weights and Connections", 5, geometric),
    "linear": Schedule("NNI's LinearPruner: the sparsity grows evenly", 5, linear),
    "gradual": Schedule("Zhu & Gupta 2017, To Prune, or Not to Prune; in few rounds", 3, cubic),
    "agp": Schedule("Zhu & Gupta 2017, To Prune, or Not to Prune; NNI's AGPPruner", 10, cubic),
    "lottery_ticket": Schedule("Frankle & Carbin 2019, The Lottery Ticket Hypothesis", rewind_to=0.0, **_LOTTERY),
    "lottery_ticket_late": Schedule(
        "Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis", rewind_to=0.1, **_LOTTERY
    ),
    "lr_rewinding": Schedule("Renda et al. 2020, Comparing Rewinding and Fine-tuning", **_LOTTERY),
    "from_scratch": Schedule(
        "prune the untrained network, then train it: Lee et al. 2019, SNIP", start="untrained", retrain="training"
    ),
    "set": Schedule(
        "Mocanu et al. 2018, Scalable Training with Adaptive Sparse Connectivity (SET)",
        start="untrained",
        retrain="training",
        grow="random",
    ),
    "rigl": Schedule(
        "Evci et al. 2020, Rigging the Lottery (RigL)", start="untrained", retrain="training", grow="gradient"
    ),
}


def get_schedule(name: str) -> Schedule:
    """Return the schedule called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    return SCHEDULES[name]


def check_blocks(name: str) -> None:
    """Check that whole blocks can be dropped on the schedule called ``name``.

    Raises:
        UserError: they cannot, with the reason.
    """
    if get_schedule(name).grow:
        raise UserError(
            f"schedule {name} moves single weights about, so it drops no whole blocks: use shared, one_shot or gradual "
            "with block.NAME"
        )


def check_initial(name: str) -> None:
    """Check that the schedule called ``name`` can do without the weights before training.

    Raises:
        UserError: it cannot, with the reason.
    """
    if get_schedule(name).needs_initial:
        raise UserError(
            f"schedule {name} needs the weights before training, which --checkpoint does not hold: name them too, with "
            "--initial FILE, or use a schedule that starts from the trained ones, such as shared, one_shot or gradual"
        )


def check_pair(schedule: str, criterion: str, found: Criterion) -> None:
    """Check that the schedule can be carried out with the criterion.

    Raises:
        UserError: it cannot, with the reason.
    """
    found_schedule = get_schedule(schedule)
    if found_schedule.retrain == "shared" and not found.structured:
        raise UserError(
            f"schedule {schedule} recovers all channel candidates at once, but criterion {criterion} removes no whole "
            f"channels: use l1_norm with it, or another schedule with {criterion}"
        )
    if found_schedule.grow and found.granularity != "weight":
        what = {"channel": "whole channels", "kernel": "whole kernels", "2:4": "two of four weights"}[found.granularity]
        raise UserError(
            f"schedule {schedule} moves single weights about, but criterion {criterion} removes {what}: "
            f"use level with it, or another schedule with {criterion}"
        )
