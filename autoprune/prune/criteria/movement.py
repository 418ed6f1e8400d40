"""Weights that move towards zero while the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request
from autoprune.prune.criteria.nni_pruner import evaluator, measured, nni_pruner, single_weights


@dataclass(frozen=True)
class Movement(Criterion):
    """Fine-tune with masks that follow the movement scores, and return the last scores (NNI's MovementPruner).

    Args:
        ramp: the share of the steps over which the sparsity grows.
    """

    ramp: float = 0.75

    granularity = "weight"
    paper = "Sanh et al. 2020, Movement Pruning: Adaptive Sparsity by Fine-Tuning"
    needs = ("data", "gradients", "training")

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the movement scores."""
        context = request.need()
        train = evaluator(request.model, context, context.task.recovery.learning_rate)
        ramp = max(1, int(context.steps * self.ramp))
        options = {"evaluator": train, "warmup_step": 0, "cooldown_begin_step": ramp}
        with nni_pruner("MovementPruner", request, single_weights(request), **options) as pruner:
            return measured(pruner, max(context.steps, ramp), None)


MOVEMENT = Movement()
