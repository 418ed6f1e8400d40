"""Channels that batch norm scales to nothing, after training under a penalty on the scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoprune.pruning.criteria.base import Criterion, Request, per_channel
from autoprune.pruning.criteria.nni_pruner import evaluator, measured, nni_pruner
from autoprune.pruning.groups import Group

PAPER = "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming"


def scales(model: nn.Module, group: Group) -> list[str]:
    """Return the batch norms that scale the group's channels."""
    return [
        name
        for name in group.followers
        if isinstance(norm := model.get_submodule(name), nn.modules.batchnorm._BatchNorm)
        and norm.affine
        and norm.num_features == group.channels
    ]


def batch_norm_scale(request: Request) -> dict[str, Tensor]:
    """Score each channel by its batch-norm scale, as it stands; without batch norm, by its filter's L2 norm."""
    found = {}
    for group in request.groups:
        norms = [request.model.get_submodule(name).weight for name in scales(request.model, group)]
        layers = [request.model.get_submodule(name) for name in group.producers]
        values = norms or [per_channel(group, layer.weight.flatten(1).norm(dim=1)) for layer in layers]
        found[group.name] = sum(value.detach().abs() for value in values)
    return found


def slim(request: Request) -> dict[str, Tensor]:
    """Train under NNI's SlimPruner, which puts a penalised factor on each scale, and fold the factors into the scales.

    Groups without batch norm get a factor on each filter instead.
    """
    context, model = request.need(), request.model
    targets = {name: group for group in request.groups for name in (scales(model, group) or group.producers)}
    config = [
        {
            "op_names": [name],
            "target_names": ["weight"],
            "sparse_ratio": float(request.sparsity[group.name]),
            "granularity": [1] + [-1] * (model.get_submodule(name).weight.dim() - 1),
        }
        for name, group in targets.items()
    ]
    train = evaluator(model, context, context.task.recovery.learning_rate)
    with nni_pruner("SlimPruner", request, config, evaluator=train, training_steps=context.steps) as pruner:
        factors = measured(pruner)
    scores = {group.name: torch.zeros(group.channels) for group in request.groups}
    for name, group in targets.items():
        weight = model.get_submodule(name).weight
        with torch.no_grad():
            weight.mul_(factors[name])
        scores[group.name] += per_channel(
            group, weight.detach().flatten(1).norm(dim=1) if weight.dim() > 1 else weight.detach().abs()
        )
    return scores


SLIM = Criterion(slim, "channel", PAPER, needs=("data", "gradients", "training"))
BN_SCALE = Criterion(batch_norm_scale, "channel", f"{PAPER}; without the training under a penalty")
