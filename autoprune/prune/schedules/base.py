"""What a schedule is, and how a sparsity may grow towards its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


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
            learning rate back at its start; or ``supernet``, the weights of one training for all candidates.
        rewind_to: the point of the dense network's training, in [0, 1), to whose weights the surviving ones go back
            after each round: 0 is their initialisation. None leaves them as they are.
        grow: of dynamic sparse training, where pruned weights come back: at random, or where the gradient is largest.
    """

    paper: str
    rounds: int = 1
    at: Callable[[float, float], float] = at_once
    start: Literal["trained", "untrained"] = "trained"
    retrain: Literal["recovery", "training", "supernet"] = "recovery"
    rewind_to: float | None = None
    grow: Literal["random", "gradient"] | None = None

    @property
    def needs_initial(self) -> bool:
        """Whether it begins with the weights before training, or goes back towards them."""
        return self.start == "untrained" or self.rewind_to is not None

    def times(self) -> list[float]:
        """Return the end of each round, in (0, 1]."""
        return [number / self.rounds for number in range(1, self.rounds + 1)]
