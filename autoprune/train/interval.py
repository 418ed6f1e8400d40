"""Between which values a metric would lie on other examples of the same kind: the bootstrap (Efron 1979)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from autoprune.base import streams
from autoprune.base.modes import evaluating
from autoprune.base.progress import track
from autoprune.base.tree import device_of, to_device
from autoprune.results.measures import Measure
from autoprune.task.task import Data, Task
from autoprune.train import loading
from autoprune.train.evaluation import meter_of
from autoprune.train.metrics import Meter

PARTS, TIMES = 1000, 1000
"""Parts that a split is taken apart into, if it has so many examples; how often as many of them are drawn."""

JUDGED, FEWEST = 20_000, 100
"""Of a metric that is no function of sums (mAP): examples that are judged anew, in so many draws at least."""


@torch.no_grad()
def bootstrap(task: Task, model: nn.Module, data: Data, seed: int = 0) -> tuple[tuple[float, float] | None, str]:
    """Return the 95 % interval of the task's metric of a model, by drawing examples with replacement, and how.

    Each part of the split goes through the model once, by itself. Of more examples than :data:`PARTS`, parts of several
    are drawn; of a stream, or of a loader with batches of its own making, its batches.

    Returns:
        The interval, and what was drawn; or None, and why there is none.
    """
    if task.own_evaluation is not None:
        return None, "none: the task's evaluate returns one number for all examples together"
    batches, parts = _parts(data)
    device, meters, kept = device_of(model), [], []
    sums: list[torch.Tensor] = []
    with evaluating(model):
        for batch in batches:
            batch = to_device(batch, device)
            outputs, meter = task.run(model, batch), meter_of(task)
            meter.add(outputs, batch)
            meters.append(meter)
            own = meter.sums()
            if own is None:
                kept.append((outputs, batch))
            else:
                sums.append(own)
    count = len(meters)
    times = min(TIMES, JUDGED // (loading.count(data) or count)) if kept else TIMES
    if count < 2 or times < FEWEST:
        return None, f"none: {'there is one part only' if count < 2 else f'too many examples to judge {FEWEST} times'}"
    drawn = torch.randint(count, (times, count), generator=streams.generator(seed, "bootstrap"))
    if kept:
        draws = track(drawn.tolist(), f"draw for the interval of the {task.metric.noun}", times)
        values = [_judged(task, [kept[i] for i in draw]) for draw in draws]
    else:
        weights = torch.zeros(times, count, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones(drawn.shape).double()
        )
        values = [_of(task.metric, meters[0], each) for each in weights @ torch.stack(sums)]
    found = torch.tensor([value for value in values if math.isfinite(value)], dtype=torch.float64)
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return (low, high), f"bootstrap over {parts}, {times} times"


def _parts(data: Data) -> tuple[Any, str]:
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


def _judged(task: Task, pairs: list[tuple[Any, Any]]) -> float:
    meter = meter_of(task)
    for outputs, batch in pairs:
        meter.add(outputs, batch)
    return meter.result()[task.metric.name]


def _of(metric: Measure, meter: Meter, sums: torch.Tensor) -> float:
    meter.take(sums)
    return meter.result()[metric.name]
