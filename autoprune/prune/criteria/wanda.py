"""Weights times the norms of what they are multiplied with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoprune.prune.criteria.base import Criterion, Request, per_unit, rows
from autoprune.prune.criteria.inputs import Inputs, inputs_of, readers

PAPER = "Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language Models"


def products(weight: Tensor, inputs: Inputs | None) -> Tensor:
    """Return each weight's magnitude times the norm of its input; the magnitude where no input was seen.

    Args:
        weight: shape ``(outputs, inputs, ...)``, or the other way round where only that fits the inputs.
    """
    magnitude = weight.detach().abs().double().cpu()
    if inputs is None:
        return magnitude
    norm = inputs.squares.sqrt()
    if magnitude.shape[1] == len(norm):
        return magnitude * norm.view(1, -1, *[1] * (magnitude.ndim - 2))
    return magnitude * norm.view(-1, 1) if magnitude.ndim == 2 and len(magnitude) == len(norm) else magnitude


@dataclass(frozen=True)
class Wanda(Criterion):
    """Score each weight by its magnitude times the norm of its input, among the weights of the same output.

    Args:
        batches: training batches to look at; if None as many as the context says.
    """

    batches: int | None = None

    granularity = "weight"
    needs = ("data",)
    paper = PAPER

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the rank of each weight in its row, so that the lowest of a layer are the lowest of each output."""
        layers = {name: name.rpartition(".")[0] for _, name, _ in request.weights()}
        inputs = inputs_of(request, set(layers.values()), self.batches)
        scores = {}
        for _, name, weight in request.weights():
            product = products(weight, inputs.get(layers[name]))
            scores[name] = product.flatten(1).argsort(stable=True, dim=1).argsort(dim=1).double().view(weight.shape)
        return scores


@dataclass(frozen=True)
class WandaSp(Criterion):
    """Score each channel by the sum of that over the weights that read it: Wanda-sp, as An et al. 2023 compare it.

    Args:
        batches: training batches to look at; if None as many as the context says.
    """

    batches: int | None = None

    granularity = "channel"
    needs = ("data",)
    paper = f"{PAPER}; whole channels: An et al. 2023"

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the sums."""
        scores = {group.name: torch.zeros(group.channels) for group in request.groups}
        for group, part, inputs in readers(request, self.batches):
            magnitudes = rows(part, request.model.get_parameter(part.parameter)).abs().sum(1).double().cpu()
            scores[group.name] += per_unit(group, part, magnitudes * inputs.squares.sqrt())
        return scores


WANDA, WANDA_SP = Wanda(), WandaSp()
