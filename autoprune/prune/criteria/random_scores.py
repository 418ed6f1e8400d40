"""Chance: the control that every comparison needs."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request

PAPER = "the control; Mittal et al. 2018, Recovering from Random Pruning"


def random_channels(request: Request) -> dict[str, Tensor]:
    """Score channels at random, the same for the same seed, whichever other groups are asked for."""
    return {
        group.name: torch.rand(group.channels, generator=request.generator("random", group.name))
        for group in request.groups
    }


def random_weights(request: Request) -> dict[str, Tensor]:
    """Score weights at random, the same for the same seed, whichever other layers are asked for."""
    return {
        name: torch.rand(weight.shape, generator=request.generator("random_weights", name))
        for _, name, weight in request.weights()
    }


RANDOM = FunctionCriterion(random_channels, "channel", PAPER)
RANDOM_WEIGHTS = FunctionCriterion(random_weights, "weight", PAPER)
