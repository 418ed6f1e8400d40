"""How sure a metric is, given the examples that it was measured on: the bootstrap (Efron 1979)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from autoprune.base import streams
from autoprune.base.modes import evaluating
from autoprune.base.progress import track
from autoprune.base.tree import device_of, examples_in, to_device
from autoprune.task.task import Data, Task
from autoprune.train import loading
from autoprune.train.evaluation import meter_of
from autoprune.train.metrics import Meter

PARTS, TIMES = 1000, 1000
"""Parts that a split is taken apart into, if it has so many examples; how often as many of them are drawn."""

JUDGED, FEWEST, FEW = 20_000, 100, 30
"""Of a metric that is no function of sums (mAP): examples that are judged anew, in so many draws at least; draws for a
standard error."""


@dataclass(frozen=True)
class Parts:
    """What a model makes of each part of a split.

    Args:
        count: how many.
        sums: of each, shape ``(parts, sums)``, where the metric is a function of sums.
        outputs: of each, with the batch, where it is not.
        meter: what makes the metric of sums.
        names: what the parts are.
        examples: in the split.
    """

    task: Task
    count: int
    sums: torch.Tensor | None
    outputs: list[tuple[Any, Any]]
    meter: Meter
    names: str
    examples: int

    def values(self, drawn: torch.Tensor) -> torch.Tensor:
        """Return the metric over the parts that were drawn.

        Args:
            drawn: their numbers, shape ``(draws, parts)``.

        Returns:
            Shape ``(draws,)``, double.
        """
        if self.sums is None:
            draws = track(drawn.tolist(), f"draw for the interval of the {self.task.metric.noun}", len(drawn))
            values = [self._judged(draw) for draw in draws]
        else:
            weights = torch.zeros(len(drawn), self.count, dtype=torch.float64)
            weights.scatter_add_(1, drawn, torch.ones(drawn.shape).double())
            values = [self._of(each) for each in weights @ self.sums]
        return torch.tensor(values, dtype=torch.float64)

    def _judged(self, draw: list[int]) -> float:
        meter = meter_of(self.task)
        for i in draw:
            meter.add(*self.outputs[i])
        return meter.result()[self.task.metric.name]

    def _of(self, sums: torch.Tensor) -> float:
        self.meter.take(sums)
        return self.meter.result()[self.task.metric.name]


@torch.no_grad()
def parts_of(task: Task, model: nn.Module, data: Data, fewest: int) -> Parts | None:
    """Put each part of a split through a model, by itself.

    Of more examples than :data:`PARTS`, a part is several; of a stream, or of a loader with batches of its own making,
    it is a batch.

    Returns:
        None of so many examples that a metric which is no function of sums cannot be judged anew ``fewest`` times: the
        outputs for all of them are not kept.
    """
    batches, names = _batches(data)
    device, meter, examples = device_of(model), meter_of(task), 0
    sums, outputs = list[torch.Tensor](), list[tuple[Any, Any]]()
    with evaluating(model):
        for batch in batches:
            batch = to_device(batch, device)
            found, meter = task.run(model, batch), meter_of(task)
            meter.add(found, batch)
            examples += examples_in(batch)
            if (own := meter.sums()) is None:
                outputs.append((found, batch))
                if len(outputs) > 1 and examples * fewest > JUDGED:
                    return None
            else:
                sums.append(own)
    count = len(sums) + len(outputs)
    return Parts(task, count, torch.stack(sums) if sums else None, outputs, meter, names, examples)


def bootstrap(task: Task, model: nn.Module, data: Data, seed: int = 0) -> tuple[tuple[float, float] | None, str]:
    """Return the 95 % interval of the task's metric of a model, by drawing examples with replacement, and how.

    Returns:
        The interval, and what was drawn; or None, and why there is none.
    """
    if task.own_evaluation is not None:
        return None, "none: the task's evaluate returns one number for all examples together"
    parts = parts_of(task, model, data, FEWEST)
    if parts is None:
        return None, f"none: too many examples to judge {FEWEST} times"
    count = parts.count
    if count < 2:
        return None, "none: there is one part only"
    times = min(TIMES, JUDGED // parts.examples) if parts.outputs else TIMES
    values = parts.values(_drawn(times, count, seed))
    low, high = values[values.isfinite()].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return (low, high), f"bootstrap over {parts.names}, {times} times"


def drop_error(parts: Parts, dense: Parts, seed: int = 0) -> float | None:
    """Return the standard error of a model's drop from the dense one over the examples, which both are judged by.

    By the bootstrap over pairs; the drop is :meth:`.Measure.drop`. Where the metric is the share of examples that are
    right, one more of each kind counts as judged differently (Agresti and Min 2005), so that models that agree on all
    of a few examples are not taken for equal.

    Returns:
        None where there is no telling: of one part.
    """
    count, metric = parts.count, parts.task.metric
    times = FEW if parts.outputs else TIMES
    if count < 2 or count != dense.count:
        return None
    drawn = _drawn(times, count, seed)
    pairs = zip(parts.values(drawn).tolist(), dense.values(drawn).tolist(), strict=True)
    drops = torch.tensor([metric.drop(value, other) for value, other in pairs], dtype=torch.float64)
    spread = float(drops[drops.isfinite()].std())
    return math.hypot(spread, 1 / parts.examples) if metric.proportion else spread


def _drawn(times: int, count: int, seed: int) -> torch.Tensor:
    return torch.randint(count, (times, count), generator=streams.generator(seed, "bootstrap"))


def _batches(data: Data) -> tuple[Any, str]:
    """Return the batches of which each is a part, and what a part is."""
    count = loading.count(data)
    own = isinstance(data, IterableDataset) or (isinstance(data, DataLoader) and data.batch_size is None)
    if count is None or own:
        return loading.batches(data, 1), "examples" if isinstance(data, IterableDataset) else "batches"
    size = math.ceil(count / PARTS)
    parts = "examples" if size == 1 else f"parts of {size} examples"
    if isinstance(data, DataLoader):
        data = DataLoader(
            data.dataset, size, sampler=data.sampler, collate_fn=data.collate_fn, num_workers=data.num_workers
        )
    return loading.batches(data, size), parts
