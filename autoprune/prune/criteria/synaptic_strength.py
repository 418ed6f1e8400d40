"""The strength of each connection between two channels: its kernel's norm times the batch-norm scale of its input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request
from autoprune.prune.criteria.slim import scales
from autoprune.prune.groups import Slice
from autoprune.train import loop

Feeding = dict[str, list[tuple[Slice, list[Slice]]]]
"""By weight: where the channels of each group that it reads lie, and the batch norms that scale them."""


@dataclass(frozen=True)
class SynapticStrength(Criterion):
    """Train under an L1 penalty on the strengths, then score each kernel by its strength.

    Args:
        penalty: on the sum of the strengths.
    """

    penalty: float = 1e-4

    granularity = "kernel"
    paper = "Lin et al. 2018, Synaptic Strength For Convolutional Neural Network"
    needs = ("data", "gradients", "training")

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the strengths after the training."""
        context, feeding = request.need(), _feeding(request)

        def penalty() -> Tensor:
            sums = [strength.sum() for strength in _strengths(request, feeding).values()]
            return self.penalty * torch.stack(sums).sum()

        recipe = replace(context.task.recovery, steps=context.steps, bn_reestimation=0)
        loop.train(context.task, request.model, context.train, recipe, context.seed, penalty=penalty)
        return _strengths(request, feeding)


def _strengths(request: Request, feeding: Feeding) -> dict[str, Tensor]:
    """Return each kernel's strength, of shape ``(outputs, inputs, 1, 1)``, by parameter name."""
    found = {}
    for _, name, weight in request.weights():
        kernels = weight.abs() if weight.dim() == 2 else weight.flatten(2).norm(dim=2)
        scale = kernels.new_ones(kernels.shape[1])
        for part, norms in feeding.get(name, ()):
            orders = [norm.unit.long().argsort().to(weight.device) for norm in norms]
            own = [request.model.get_parameter(norm.parameter)[i] for norm, i in zip(norms, orders, strict=True)]
            mean = torch.stack(own).abs().mean(0)  # a residual sum of several
            unit = part.unit.long().to(weight.device)
            scale = torch.where(unit < 0, scale, mean[unit.clamp_min(0)])
        strength = kernels * scale
        found[name] = strength.view(*strength.shape, *[1] * (weight.dim() - 2))
    return found


def _feeding(request: Request) -> Feeding:
    feeding: Feeding = {}
    for group in request.every_group:
        norms = [norm for norm in scales(request.model, group) if len(norm.unit) == group.channels]
        for part in group.slices if norms else ():
            if (part.role, part.dim) == ("in", 1):
                feeding.setdefault(part.parameter, []).append((part, norms))
    return feeding


SYNAPTIC_STRENGTH = SynapticStrength()
