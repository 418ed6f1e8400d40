"""Weights that move towards zero while the network is fine-tuned."""

from __future__ import annotations

from torch import Tensor

from autoprune.pruning.criteria.base import Criterion, Request
from autoprune.pruning.criteria.nni_pruner import evaluator, filters, measured, nni_pruner


def movement(request: Request) -> dict[str, Tensor]:
    """Fine-tune with masks that follow the movement scores, and return the last scores (NNI's MovementPruner)."""
    context = request.need()
    config = filters(request)
    for entry in config:
        entry["granularity"] = [1] * request.model.get_submodule(entry["op_names"][0]).weight.dim()
    train = evaluator(request.model, context, context.task.recovery.learning_rate)
    ramp = max(1, context.steps * 3 // 4)
    options = {"evaluator": train, "warmup_step": 0, "cooldown_begin_step": ramp}
    with nni_pruner("MovementPruner", request, config, **options) as pruner:
        return {f"{layer}.weight": metric for layer, metric in measured(pruner, max(context.steps, ramp), None).items()}


MOVEMENT = Criterion(
    movement,
    "weight",
    "Sanh et al. 2020, Movement Pruning: Adaptive Sparsity by Fine-Tuning",
    needs=("data", "gradients", "training"),
)
