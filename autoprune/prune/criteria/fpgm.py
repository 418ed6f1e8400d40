"""Filters that the others can replace."""

from autoprune.prune.criteria.base import Criterion
from autoprune.prune.criteria.nni_pruner import norm_scores

FPGM = Criterion(norm_scores("FPGMPruner"), "channel", "He et al. 2019, Filter Pruning via Geometric Median")
