"""Connection sensitivity, by which a network can be pruned before it is trained."""

from __future__ import annotations

from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request
from autoprune.prune.criteria.gradients import accumulate_gradients, gradient_of


def connection_sensitivity(request: Request) -> dict[str, Tensor]:
    """Score each weight by |gradient x weight| on a few batches."""
    with accumulate_gradients(request):
        return {name: (gradient_of(weight) * weight).detach().abs() for _, name, weight in request.weights()}


SNIP = FunctionCriterion(
    connection_sensitivity,
    "weight",
    "Lee et al. 2019, SNIP: Single-shot Network Pruning based on Connection Sensitivity",
    needs=("data", "gradients"),
    scope="network",
)
