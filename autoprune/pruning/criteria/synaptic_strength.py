"""The strength of each connection between two channels: its kernel's norm times the batch-norm scale of its input."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from autoprune import training
from autoprune.pruning.criteria.base import Criterion, Request
from autoprune.pruning.criteria.slim import scales

PENALTY = 1e-4


def strengths(request: Request) -> dict[str, Tensor]:
    """Return each kernel's strength, of shape ``(outputs, inputs, 1, 1)``, by parameter name."""
    found = {}
    for _, name, weight in request.weights():
        kernels = weight.abs() if weight.dim() == 2 else weight.flatten(2).norm(dim=2)
        strength = kernels * _input_scale(request, name, kernels.shape[1])
        found[name] = strength.view(*strength.shape, *[1] * (weight.dim() - 2))
    return found


def synaptic_strength(request: Request) -> dict[str, Tensor]:
    """Train under an L1 penalty on the strengths, then score each kernel by its strength."""
    context = request.need()

    def penalty() -> Tensor:
        return PENALTY * torch.stack([strength.sum() for strength in strengths(request).values()]).sum()

    recipe = replace(context.task.recovery, steps=context.steps, bn_reestimation=0)
    training.train(context.task, request.model, context.train, recipe, context.seed, penalty=penalty)
    return strengths(request)


def _input_scale(request: Request, name: str, inputs: int) -> Tensor:
    """Return the batch-norm scale of each input of a weight; 1 where there is none, the mean where there are more."""
    scale = torch.ones(inputs)
    for group in request.every_group:
        norms = [norm for norm in scales(request.model, group) if len(norm.unit) == group.channels]
        for part in group.slices if norms else ():
            if part.parameter == name and (part.role, part.dim, len(part.unit)) == ("in", 1, inputs):
                own = [request.model.get_parameter(norm.parameter)[norm.unit.long().argsort()] for norm in norms]
                own = torch.stack(own).abs().mean(0)
                scale = torch.where(part.unit < 0, scale, own[part.unit.long().clamp_min(0)])
    return scale


SYNAPTIC_STRENGTH = Criterion(
    synaptic_strength,
    "kernel",
    "Lin et al. 2018, Synaptic Strength For Convolutional Neural Network",
    needs=("data", "gradients", "training"),
)
