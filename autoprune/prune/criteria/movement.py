"""Weights that move towards zero while the network is fine-tuned."""

from __future__ import annotations

from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request
from autoprune.prune.criteria.nni_pruner import evaluator, measured, nni_pruner, single_weights


def movement(request: Request) -> dict[str, Tensor]:
    """Fine-tune with masks that follow the movement scores, and return the last scores (NNI's MovementPruner)."""
    context = request.need()
    train = evaluator(request.model, context, context.task.recovery.learning_rate)
    ramp = max(1, context.steps * 3 // 4)
    options = {"evaluator": train, "warmup_step": 0, "cooldown_begin_step": ramp}
    with nni_pruner("MovementPruner", request, single_weights(request), **options) as pruner:
        return measured(pruner, max(context.steps, ramp), None)


MOVEMENT = Criterion(
    movement,
    "weight",
    "Sanh et al. 2020, Movement Pruning: Adaptive Sparsity by Fine-Tuning",
    needs=("data", "gradients", "training"),
)
