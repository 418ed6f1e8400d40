"""The 95 % intervals of the figures on the test split."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.stats import binomtest
from torch import nn

from autoprune.base.tree import examples_in
from autoprune.task.task import Data, Task
from autoprune.train import loading
from autoprune.train.evaluation import BATCH_SIZE
from autoprune.train.interval import bootstrap


def wilson(share: float, examples: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of so many examples."""
    interval = binomtest(round(share * examples), examples).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def count(data: Data) -> int:
    """Return how many examples a split has; a stream is read for it."""
    known = loading.count(data)
    return sum(map(examples_in, loading.batches(data, BATCH_SIZE))) if known is None else known


def intervals(
    task: Task, models: Mapping[str, nn.Module], values: Mapping[str, float], test: Data, examples: int, seed: int
) -> tuple[dict[str, tuple[float, float]], str]:
    """Return the interval of each model's metric, and how they were found or why there are none.

    Args:
        values: the metric of each on the test split.
        examples: in it.
    """
    if task.metric.proportion:
        return {name: wilson(value, examples) for name, value in values.items()}, "Wilson"
    found = {name: bootstrap(task, model, test, seed) for name, model in models.items()}
    return {name: both for name, (both, _) in found.items() if both is not None}, next(iter(found.values()))[1]
