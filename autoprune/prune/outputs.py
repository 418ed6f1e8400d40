"""The outputs of a network without randomness, and how far those of two networks differ."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base.modes import train_but_batch_norms
from autoprune.base.tree import call
from autoprune.prune.graph.trace import tensors
from autoprune.prune.random_values import NoChance

VISIBLE = {torch.float64: 1e-7}
"""The least that setting to zero must change to be more than rounding, relative to the output; else 1e-3."""


def outputs(model: nn.Module, example_input: Any, training: bool = False) -> list[Tensor]:
    """Return the output tensors of a run without randomness: dropout passes all, and the generators are given back.

    Args:
        model: it is left in the mode in which it ran.
        training: run as in training, but for batch norms, which use their statistics and leave them as they are.
    """
    if training:
        train_but_batch_norms(model)
    else:
        model.eval()
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(list(devices)), NoChance():
        torch.default_generator.manual_seed(0)
        return tensors(call(model, copy.deepcopy(example_input)))


def relative_difference(found: Sequence[Tensor], wanted: Sequence[Tensor], dense: Sequence[Tensor] = ()) -> float:
    """Return the largest absolute difference between two lists of tensors, over the largest value wanted.

    Args:
        dense: the outputs of the network before; where these differ visibly from what is wanted, the difference is
            taken over that, so that a large part of the output on which nothing depends hides no error.
    """
    if len(found) != len(wanted):
        return math.inf
    largest = 0.0
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a.shape != b.shape:
            return math.inf
        if not b.is_floating_point():
            largest = max(largest, float((a != b).any()))
        elif b.numel():
            effect = _effect(dense[i], b) if len(dense) == len(wanted) else 0.0
            error = _distance(a, b) / max(effect if 0 < effect < math.inf else size_of(b), 1e-30)
            largest = max(largest, error if error == error else math.inf)
    return largest


def size_of(tensor: Tensor) -> float:
    """Return the largest finite absolute value; 0 if there is none."""
    finite = tensor[tensor.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference; infinities at the same places are none."""
    return torch.where(a == b, 0.0, a - b).abs().max().item()


def visible(dense: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Whether setting to zero changes any output."""
    return len(dense) != len(wanted) or any(_effect(a, b) for a, b in zip(dense, wanted, strict=True))


def _effect(dense: Tensor, wanted: Tensor) -> float:
    """Return the largest difference that setting to zero makes: 0 if it is no more than rounding, inf if sizes change.

    Those of whole numbers are 0 or infinite.
    """
    if dense.shape != wanted.shape:
        return math.inf
    if not wanted.numel():
        return 0.0
    if not wanted.is_floating_point():
        return math.inf if (dense != wanted).any() else 0.0
    effect = _distance(dense, wanted)
    return effect if effect > VISIBLE.get(wanted.dtype, 1e-3) * max(size_of(wanted), size_of(dense)) else 0.0
