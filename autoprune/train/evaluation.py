"""How good a network is, by its task's metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from autoprune.base.modes import evaluating, modes_kept, train_but_batch_norms
from autoprune.base.tree import device_of, examples_in, said, to_device
from autoprune.errors import TrialFailure, UserError, short
from autoprune.task.objective import labels_in, main_output
from autoprune.task.task import Data, Task
from autoprune.train import loading
from autoprune.train.metrics import METERS, Meter, OfTorchmetrics

WHY_NONE = (
    "if the training diverged, lower the learning rate; if not, look for NaN in the data, and at how it is computed"
)
"""What can be done about a number that is none."""

BATCH_SIZE = 512
"""Examples in a batch of an evaluation, where the data are no loader's."""


def quality(task: Task, model: nn.Module, data: Data) -> float:
    """Return the task's metric of ``model`` on a split.

    Raises:
        TrialFailure: it is not a finite number.
    """
    return evaluate(task, model, data)[task.metric.name]


@torch.no_grad()
def evaluate(task: Task, model: nn.Module, data: Data) -> dict[str, float]:
    """Return all numbers that the task's evaluation gives of ``model`` on a split, the metric among them.

    Raises:
        TrialFailure: the metric is not a finite number.
        UserError: the evaluation does not return the metric.
    """
    with evaluating(model):
        if task.own_evaluation is not None:
            return _checked(task, task.own_evaluation(model, _Batches(data, device_of(model))))
        meter = meter_of(task)
        for batch in _Batches(data, device_of(model)):
            meter.add(task.run(model, batch), batch)
    return _checked(task, meter.result())


@torch.no_grad()
def quality_and_loss(task: Task, model: nn.Module, data: Data) -> tuple[float, float]:
    """Return the task's metric and the mean loss of ``model`` on a split, in one pass where that will do.

    Raises:
        TrialFailure: one of them is not finite.
    """
    total = loss = 0.0
    meter = meter_of(task) if task.own_evaluation is None else None
    with evaluating(model):
        for batch in _Batches(data, device_of(model)):
            outputs, count = task.run(model, batch), examples_in(batch)
            loss += _evaluation_loss(task, model, outputs, batch) * count
            total += count
            if meter is not None:
                meter.add(outputs, batch)
    if not math.isfinite(loss):
        raise TrialFailure(f"the loss at the evaluation is {loss}: {WHY_NONE}")
    measured = quality(task, model, data) if meter is None else _checked(task, meter.result())[task.metric.name]
    return measured, loss / total


def loss_of(task: Task, model: nn.Module, batch: Any) -> float:
    """Return the loss of a model in evaluation mode on a batch."""
    return _evaluation_loss(task, model, task.run(model, batch), batch)


def _evaluation_loss(task: Task, model: nn.Module, outputs: Any, batch: Any) -> float:
    """Return the loss; of a model that computes it in training mode only (detectors), that one."""
    try:
        return float(task.loss(outputs, batch))
    except Exception:
        with modes_kept(model):
            train_but_batch_norms(model)
            return float(task.loss_of(model, batch))


def meter_of(task: Task) -> Meter:
    """Return what adds the batches' results up to the task's metric.

    Raises:
        UserError: nothing knows how to compute it.
    """
    if task.evaluate is not None:
        return _Torchmetrics(task.metric.name, task.evaluate)
    if task.metric.name not in METERS:
        raise UserError(
            f"task {task.name}: nobody computes its metric {task.metric.name}: give it evaluate(model, batches), which "
            f"returns it, or use {', '.join(METERS)}"
        )
    return METERS[task.metric.name](task)


class _Torchmetrics(OfTorchmetrics):
    """A torchmetrics metric, which is given the main output and the labels of each batch."""

    def __init__(self, name: str, metric: Any) -> None:
        self._name, self._metric = name, metric.clone()
        self._metric.reset()

    def add(self, outputs: Any, batch: Any) -> None:
        logits = main_output(outputs)
        given = outputs if logits is None else logits
        self._metric.to(logits.device if logits is not None else "cpu").update(given, labels_in(batch))

    def result(self) -> dict[str, float]:
        found = self._metric.compute()
        found = found if isinstance(found, Mapping) else {self._name: found}
        return {name: float(value) for name, value in found.items() if getattr(value, "numel", lambda: 1)() == 1}


class _Batches:
    """A split's batches on a device, as often as they are asked for."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self._data, self._device = data, device

    def __iter__(self) -> Iterator[Any]:
        for batch in loading.batches(self._data, BATCH_SIZE, device=self._device):
            yield to_device(batch, self._device)

    def __len__(self) -> int:
        if isinstance(self._data, loading.Kept):
            return len(self._data.batches)
        count = loading.count(self._data)
        if count is None:
            raise TypeError("a stream of batches has no length")
        size = getattr(self._data, "batch_size", None) or BATCH_SIZE
        return math.ceil(count / size)


def _checked(task: Task, found: Any) -> dict[str, float]:
    name = task.metric.name
    if not isinstance(found, Mapping) or name not in found:
        names = ", ".join(map(str, found)) if isinstance(found, Mapping) else said(found)
        raise UserError(f"task {task.name}: evaluate must return its metric {name} by name, not {names or 'nothing'}")
    numbers: dict[str, float] = {}
    for key, value in found.items():
        try:
            numbers[str(key)] = float(value)
        except (TypeError, ValueError):
            raise UserError(f"task {task.name}: evaluate returns {short(value)} as {key}: no number") from None
    if not math.isfinite(numbers[name]):
        raise TrialFailure(f"the {task.metric.noun} at the evaluation is {numbers[name]}: {WHY_NONE}")
    return numbers
