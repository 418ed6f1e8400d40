"""Semi-structured sparsity: some of every few weights along a layer's input, which some hardware computes faster."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request
from autoprune.prune.criteria.magnitude import weight_magnitude


def mask_n_m(scores: Tensor, n: int = 2, m: int = 4) -> Tensor | None:
    """Return a mask that keeps the ``n`` best of every ``m`` neighbours along the second dimension, the inputs.

    None if the inputs are not a multiple of ``m``.
    """
    if scores.dim() < 2 or scores.shape[1] % m:
        return None
    blocks = scores.movedim(1, -1).unflatten(-1, (-1, m))
    best = blocks.topk(n, dim=-1).indices
    return torch.zeros_like(blocks).scatter_(-1, best, 1.0).flatten(-2).movedim(-1, 1).contiguous()


@dataclass(frozen=True)
class NM(Criterion):
    """Score each weight by its magnitude; of every ``m`` neighbours along a layer's input the ``n`` best are kept.

    How much goes is thereby said, whatever sparsity is asked for.
    """

    n: int = 2
    m: int = 4

    paper = "Mishra et al. 2021, Accelerating Sparse Deep Neural Networks"

    @property
    def granularity(self) -> str:  # type: ignore[override]  # never set: n and m say it
        """The pattern."""
        return f"{self.n}:{self.m}"

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the magnitudes."""
        return weight_magnitude(request)

    def mask(self, scores: Tensor) -> Tensor | None:
        """Return the mask that keeps the best of ``scores``, or None (see :func:`mask_n_m`)."""
        return mask_n_m(scores, self.n, self.m)


NM_2_4 = NM()
