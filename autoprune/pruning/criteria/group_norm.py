"""Importance over the whole coupled group: every layer that would lose something has a say (Torch-Pruning's)."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from autoprune.pruning.criteria.base import Criterion, Request, per_channel
from autoprune.pruning.criteria.gradients import accumulate_gradients
from autoprune.pruning.groups import dependency_graph

PAPER = "Fang et al. 2023, DepGraph: Towards Any Structural Pruning"


def group_norm(request: Request) -> dict[str, Tensor]:
    """Score each channel by the squared L2 norm of all that goes with it: filters, batch norm, consumers' inputs."""
    return _importance(request, tp.importance.GroupMagnitudeImportance(p=2))


def group_taylor(request: Request) -> dict[str, Tensor]:
    """Score each channel by |gradient x weight| of all that goes with it."""
    with accumulate_gradients(request):
        return _importance(request, tp.importance.GroupTaylorImportance())


def _importance(request: Request, importance: tp.importance.Importance) -> dict[str, Tensor]:
    graph = dependency_graph(request.model, request.need().task.example_input)
    scores = {}
    for group in request.groups:
        layer = request.model.get_submodule(group.name)
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        every_output = list(range(graph.get_out_channels(layer)))
        scores[group.name] = per_channel(group, importance(graph.get_pruning_group(layer, prune, every_output)))
    return scores


GROUP_NORM = Criterion(group_norm, "channel", PAPER)
GROUP_TAYLOR = Criterion(
    group_taylor, "channel", f"Molchanov et al. 2019 over the coupled group of {PAPER}", needs=("data", "gradients")
)
