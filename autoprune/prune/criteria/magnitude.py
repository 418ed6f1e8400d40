"""The size of weights and filters."""

from __future__ import annotations

from torch import Tensor

from autoprune.prune.criteria.base import FunctionCriterion, Request
from autoprune.prune.criteria.nni_pruner import measured, nni_pruner, norm_scores, single_weights


def weight_magnitude(request: Request) -> dict[str, Tensor]:
    """Score each weight by its magnitude (NNI's LevelPruner)."""
    with nni_pruner("LevelPruner", request, single_weights(request)) as pruner:
        return measured(pruner)


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
    norm_scores("L1NormPruner"), "channel", "Li et al. 2017, Pruning Filters for Efficient ConvNets"
)
L2_NORM = FunctionCriterion(norm_scores("L2NormPruner"), "channel", "L2 norm of the filter; NNI's L2NormPruner")
