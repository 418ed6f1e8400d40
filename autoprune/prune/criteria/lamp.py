"""Magnitude, made comparable between layers."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request


def lamp_scores(weight: Tensor) -> Tensor:
    """Return each weight's square over the sum of the squares of the weights of its layer that are at least as large.

    The largest weight of each layer has the score 1, so that no layer is emptied before all are.
    """
    squares, order = weight.detach().double().pow(2).flatten().sort()
    at_least_as_large = squares.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares).scatter_(0, order, squares / at_least_as_large.clamp_min(1e-300))
    return scores.view_as(weight)


def lamp(request: Request) -> dict[str, Tensor]:
    """Score each weight by its LAMP score."""
    return {name: lamp_scores(weight) for _, name, weight in request.weights()}


LAMP = FunctionCriterion(
    lamp, "weight", "Lee et al. 2021, Layer-adaptive Sparsity for the Magnitude-based Pruning", scope="network"
)
