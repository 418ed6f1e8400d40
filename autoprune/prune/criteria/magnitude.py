"""The size of weights and filters."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request, rows
from autoprune.prune.criteria.nni_pruner import (
    is_there,
    measured,
    nni_pruner,
    norm_scores,
    scored,
    single_weights,
    sum_over_layers,
)


def weight_magnitude(request: Request) -> dict[str, Tensor]:
    """Score each weight by its magnitude (NNI's LevelPruner; without NNI the same numbers by PyTorch)."""
    if not is_there():
        return {name: weight.detach().abs() for _, name, weight in request.weights()}
    with nni_pruner("LevelPruner", request, single_weights(request)) as pruner:
        return measured(pruner)


def filter_norm(pruner: str, p: int) -> Callable[[Request], dict[str, Tensor]]:
    """Return the ``score`` by the filters' p-norm: NNI's pruner, or, without NNI, the same numbers by PyTorch."""
    by_nni = norm_scores(pruner)

    def score(request: Request) -> dict[str, Tensor]:
        if is_there():
            return by_nni(request)
        parts = [part for group in request.groups for part in scored(request.model, group)]
        weights = {part.parameter: rows(part, request.model.get_parameter(part.parameter)) for part in parts}
        return sum_over_layers(request, {name: weight.norm(p=p, dim=1) for name, weight in weights.items()})

    return score


LEVEL = FunctionCriterion(
    weight_magnitude, "weight", "Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks"
)
LEVEL_GLOBAL = FunctionCriterion(
    weight_magnitude,
    "weight",
    "Han et al. 2015; one threshold for all layers, as in Frankle & Carbin 2019, The Lottery Ticket Hypothesis",
    scope="network",
)
L1_NORM = FunctionCriterion(
    filter_norm("L1NormPruner", 1), "channel", "Li et al. 2017, Pruning Filters for Efficient ConvNets"
)
L2_NORM = FunctionCriterion(filter_norm("L2NormPruner", 2), "channel", "L2 norm of the filter; NNI's L2NormPruner")
