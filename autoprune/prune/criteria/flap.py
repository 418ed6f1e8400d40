"""Channels that hardly fluctuate: their mean goes into a bias."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoprune.prune.criteria.base import Criterion, Request, per_unit, rows
from autoprune.prune.criteria.inputs import readers


@dataclass(frozen=True)
class Flap(Criterion):
    """Score each channel by its variance times the squared norm of the weights that read it; keep its mean.

    What a channel adds on average to the layers that read it is added to their biases before it goes. A layer without
    a bias gets one, unless its outputs belong to a group, which knows of no new bias. A bias that layers share stays.

    Args:
        batches: training batches to look at; if None as many as the context says.
    """

    batches: int | None = None

    granularity = "channel"
    needs = ("data",)
    compensates = True
    paper = "An et al. 2023, Fluctuation-based Adaptive Structured Pruning for Large Language Models"

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the fluctuations."""
        scores = {group.name: torch.zeros(group.channels) for group in request.groups}
        for group, part, inputs in readers(request, self.batches):
            squares = rows(part, request.model.get_parameter(part.parameter)).square().sum(1).double().cpu()
            scores[group.name] += per_unit(group, part, squares * inputs.variance)
        return scores

    @torch.no_grad()
    def compensated(self, request: Request, removed: Mapping[str, Collection[int]]) -> nn.Module:
        """Return a copy of the network with the means of what goes in the biases of its readers."""
        model = copy.deepcopy(request.model)
        read = list(readers(replace(request, model=model), self.batches))
        names = Counter(id(tensor) for _, tensor in model.named_parameters(remove_duplicate=False))
        shared = {name for name, tensor in model.named_parameters(remove_duplicate=False) if names[id(tensor)] > 1}
        made = {part.layer for group in request.every_group for part in group.slices if part.role == "out"}
        for group, part, inputs in read:
            layer = model.get_submodule(part.layer)
            gone = torch.isin(part.unit, torch.tensor(sorted(removed.get(group.name, ())), dtype=part.unit.dtype))
            weight = layer.get_parameter(part.parameter.rpartition(".")[2])
            bias = layer._parameters.get("bias")
            if not gone.any() or (part.layer in made if bias is None else f"{part.layer}.bias" in shared):
                continue
            mean = inputs.mean.to(weight)[gone.to(weight.device)]
            by_input = weight.movedim(part.dim, 0).flatten(2).sum(2) if weight.ndim > 2 else weight.movedim(part.dim, 0)
            added = mean @ by_input[gone.to(weight.device)]
            layer.bias = nn.Parameter(added if bias is None else bias + added)
        return model


FLAP = Flap()
