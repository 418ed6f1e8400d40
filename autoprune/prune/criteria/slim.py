"""Channels that batch norm scales to nothing, after training under a penalty on the scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from autoprune.prune.criteria.base import Criterion, FunctionCriterion, Request, per_unit, rows
from autoprune.prune.criteria.nni_pruner import evaluator, measured, nni_pruner, target
from autoprune.prune.groups import Group, Slice

PAPER = "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming"


def scales(model: nn.Module, group: Group) -> list[Slice]:
    """Return where the batch norms' scales of the group's channels lie."""
    return [
        part
        for part in group.slices
        if part.parameter.endswith(".weight")
        and isinstance(model.get_submodule(part.layer), nn.modules.batchnorm._BatchNorm)
    ]


def batch_norm_scale(request: Request) -> dict[str, Tensor]:
    """Score each channel by its batch-norm scale, as it stands; without batch norm, by its filter's L2 norm."""
    return {
        group.name: reduce(
            torch.add,
            (
                per_unit(group, part, rows(part, request.model.get_parameter(part.parameter)).norm(dim=1))
                for part in _scales_or_filters(request.model, group)
            ),
        )
        for group in request.groups
    }


@dataclass(frozen=True)
class Slim(Criterion):
    """Train under NNI's SlimPruner, which puts a penalised factor on each scale, and fold the factors into the scales.

    Groups without batch norm get a factor on each filter instead.

    Args:
        penalty: on the sum of the scales: ten times the paper's, for a training that is so much shorter.
    """

    penalty: float = 1e-3

    granularity = "channel"
    paper = PAPER
    needs = ("data", "gradients", "training")

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the scales after the training."""
        context, model = request.need(), request.model
        config = {
            part.parameter: target(request, group, part)
            for group in request.groups
            for part in _scales_or_filters(model, group)
        }
        train = evaluator(model, context, context.task.recovery.learning_rate)
        # NNI divides the penalty by the number of targets, and means its own default of 1 for long training
        options = {"evaluator": train, "training_steps": context.steps, "regular_scale": self.penalty * len(config)}
        with nni_pruner("SlimPruner", request, list(config.values()), **options) as pruner:
            factors = measured(pruner)
        with torch.no_grad():
            for name, factor in factors.items():
                model.get_parameter(name).mul_(factor)
        return batch_norm_scale(request)


def _scales_or_filters(model: nn.Module, group: Group) -> list[Slice]:
    return scales(model, group) or [part for part in group.slices if part.role == "out"]


SLIM = Slim()
BN_SCALE = FunctionCriterion(batch_norm_scale, "channel", f"{PAPER}; without the training under a penalty")
