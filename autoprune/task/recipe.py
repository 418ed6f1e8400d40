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
        precision: in which forward and backward passes are computed: ``fp32``, ``bf16``, or on a GPU ``fp16``; weights
            stay as they are (``torch.autocast``).
        clip: the largest norm of a step's gradients, all together; None for no limit.
        accumulation: batches whose gradients make one step.
        averaging: decay of an exponential moving average of the weights, which the network has at the end (0.999, say);
            0 for none.
        bn_reestimation: batches over which the batch norms' statistics are computed anew at the end; 0 for none.

    Raises:
        UserError: an unknown optimizer, schedule or precision, or a number that means nothing.
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
    precision: str = "fp32"
    clip: float | None = None
    accumulation: int = 1
    averaging: float = 0.0

    def __post_init__(self) -> None:
        """Refuse names that mean nothing."""
        for what, value, known in (
            ("optimizer", self.optimizer, ("sgd", "adam", "adamw")),
            ("learning-rate schedule", self.schedule, ("onecycle", "cosine", "constant")),
            ("precision", self.precision, ("fp32", "bf16", "fp16")),
        ):
            if value not in known:
                raise UserError(f"unknown {what} {value!r}: use {', '.join(known)}")
        if not isinstance(self.accumulation, int) or self.accumulation < 1:
            raise UserError(f"a recipe's accumulation must be 1 or more, not {self.accumulation!r}")
        if not 0 <= self.averaging < 1:
            raise UserError(f"a recipe's averaging must be 0 or more and less than 1, not {self.averaging!r}")
        if self.clip is not None and not self.clip > 0:
            raise UserError(f"a recipe's clip must be more than 0, not {self.clip!r}")
