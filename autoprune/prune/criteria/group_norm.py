"""Importance over the whole coupled group: everything that would go with a channel has a say."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request, per_unit, rows
from autoprune.prune.criteria.gradients import accumulate_gradients, gradient_of

PAPER = "Fang et al. 2023, DepGraph: Towards Any Structural Pruning"


def group_norm(request: Request) -> dict[str, Tensor]:
    """Score each channel by the squared L2 norm of all the weights that go with it.

    Those are its filters, its batch norms' scales and what its consumers make of it. The order is that of
    Torch-Pruning's GroupMagnitudeImportance, over any group that we find.
    """
    return _over_the_group(request, lambda weight: weight.pow(2))


def group_taylor(request: Request) -> dict[str, Tensor]:
    """Score each channel by |gradient x weight| of all the weights that go with it."""
    with accumulate_gradients(request):
        return _over_the_group(request, lambda weight: (weight * gradient_of(weight)).abs())


def _over_the_group(request: Request, importance: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    weights = dict(request.model.named_parameters())
    return {
        group.name: reduce(
            torch.add,
            (
                per_unit(group, part, rows(part, importance(weights[part.parameter])).sum(1))
                for part in group.slices
                if part.parameter in weights and not part.parameter.endswith("bias")
            ),
        )
        for group in request.groups
    }


GROUP_NORM = FunctionCriterion(group_norm, "channel", PAPER)
GROUP_TAYLOR = FunctionCriterion(
    group_taylor, "channel", f"Molchanov et al. 2019 over the coupled group of {PAPER}", needs=("data", "gradients")
)
