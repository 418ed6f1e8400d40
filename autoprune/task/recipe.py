"""How a network is trained, or recovers."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, or recovers: by SGD with Nesterov momentum and a one-cycle learning rate, unless told.

    Args:
        steps: optimiser steps; 0 for none.
        batch_size: examples per step.
        learning_rate: the highest learning rate.
        momentum: Nesterov momentum of SGD.
        weight_decay: L2 penalty (decoupled from the gradient by ``adamw``).
        distillation: weight of the distillation loss (Hinton et al. 2015) against the task's own, in [0, 1].
            It counts only where a teacher is at hand.
        temperature: softmax temperature of the distillation loss.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        schedule: of the learning rate: ``onecycle`` (up over a tenth of the steps, then down to nothing), ``cosine``
            (down to nothing) or ``constant``.
        bn_reestimation: batches over which the batch norms' statistics are computed anew at the end; 0 for none.

    Raises:
        UserError: an unknown optimizer or schedule.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    distillation: float = 0.0
    temperature: float = 4.0
    optimizer: str = "sgd"
    schedule: str = "onecycle"
    bn_reestimation: int = 0

    def __post_init__(self) -> None:
        """Refuse names that mean nothing."""
        for what, value, known in (
            ("optimizer", self.optimizer, ("sgd", "adam", "adamw")),
            ("learning-rate schedule", self.schedule, ("onecycle", "cosine", "constant")),
        ):
            if value not in known:
                raise UserError(f"unknown {what} {value!r}: use {', '.join(known)}")
