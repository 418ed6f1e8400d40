"""Chance: the control that every comparison needs."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.pruning.criteria.base import Criterion, Request

PAPER = "the control; Mittal et al. 2018, Recovering from Random Pruning"


def random_channels(request: Request) -> dict[str, Tensor]:
    """Score channels by chance, the same for the same seed."""
    chance = _generator(request)
    return {group.name: torch.rand(group.channels, generator=chance) for group in request.groups}


def random_weights(request: Request) -> dict[str, Tensor]:
    """Score weights by chance, the same for the same seed."""
    chance = _generator(request)
    return {name: torch.rand(weight.shape, generator=chance) for _, name, weight in request.weights()}


def _generator(request: Request) -> torch.Generator:
    return torch.Generator().manual_seed(request.context.seed if request.context else 0)


RANDOM = Criterion(random_channels, "channel", PAPER)
RANDOM_WEIGHTS = Criterion(random_weights, "weight", PAPER)
