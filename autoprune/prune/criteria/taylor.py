"""How much the loss would change, by first-order Taylor expansion."""

from __future__ import annotations

from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request
from autoprune.prune.criteria.nni_pruner import evaluator, measured, nni_pruner, sum_over_layers

PAPER = "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning"


def squared_gradient_times_weight(request: Request) -> dict[str, Tensor]:
    """Score each filter by (gradient x weight)^2, summed (NNI's TaylorPruner)."""
    context = request.need()
    look = evaluator(request.model, context, learning_rate=0.0)
    with nni_pruner("TaylorPruner", request, evaluator=look, training_steps=context.batches) as pruner:
        metrics = measured(pruner)
    return sum_over_layers(request, metrics)


TAYLOR = FunctionCriterion(squared_gradient_times_weight, "channel", PAPER, needs=("data", "gradients"))
