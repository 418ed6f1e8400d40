"""Semi-structured sparsity: two of every four weights along a layer's input, which some hardware computes faster."""

from __future__ import annotations

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


def two_of_four(request: Request) -> dict[str, Tensor]:
    """Score each weight by its magnitude; the mask keeps the pattern."""
    return weight_magnitude(request)


NM_2_4 = Criterion(two_of_four, "2:4", "Mishra et al. 2021, Accelerating Sparse Deep Neural Networks")
