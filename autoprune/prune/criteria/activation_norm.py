"""How strongly units, heads and channels of the residual stream are active, as Minitron ranks them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request, per_unit
from autoprune.prune.criteria.inputs import readers


@dataclass(frozen=True)
class ActivationNorm(Criterion):
    """Score each channel by what arrives of it at the layers that read it: mean over positions, norm over examples.

    A head is its output before the projection, a channel of the residual stream what the norms pass on of it.

    Args:
        batches: training batches to look at; if None as many as the context says.
    """

    batches: int | None = None

    granularity = "channel"
    needs = ("data",)
    paper = "Muralidharan et al. 2024, Compact Language Models via Pruning and Knowledge Distillation (Minitron)"

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the norms."""
        scores = {group.name: torch.zeros(group.channels) for group in request.groups}
        for group, part, inputs in readers(request, self.batches):
            scores[group.name] += per_unit(group, part, inputs.levels)
        return {name: score.sqrt() for name, score in scores.items()}


ACTIVATION_NORM = ActivationNorm()
