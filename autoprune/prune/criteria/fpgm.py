"""Filters that the others can replace."""

from autoprune.prune.criteria.base import FunctionCriterion
from autoprune.prune.criteria.nni_pruner import norm_scores

FPGM = FunctionCriterion(norm_scores("FPGMPruner"), "channel", "He et al. 2019, Filter Pruning via Geometric Median")
