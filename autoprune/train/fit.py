"""Whether a task's data, model and loss fit together: one batch goes through all of them before anything long begins.

What AutoPrune can train on is said here and nowhere else.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from autoprune.base import streams
from autoprune.errors import UserError
from autoprune.task.task import Splits, Task
from autoprune.train import distillation, loading

EXAMPLES = 4
"""Examples in the batch that is tried."""


def check_data(task: Task, data: Splits, model: nn.Module) -> None:
    """Put one small batch of each split through the model, and one of the training split through the loss.

    Nothing is changed: neither the model nor the random numbers that others draw.

    Raises:
        UserError: AutoPrune cannot train on this data, or the model, the loss and the data do not fit together; in one
            line, with the shapes.
    """
    if not all(hasattr(data, name) for name in Splits._fields):
        raise UserError(
            f"task {task.name}: data() must return autoprune.Splits(train, validation, test), not {_said(data)}"
        )
    model = copy.deepcopy(model)
    with streams.fixed():
        for name in Splits._fields:
            where, split = f"task {task.name}, {name} split", getattr(data, name)
            x, y = _batch(where, split)
            classes = _classes(where, model, x, y)
            _check_labels(where, loading.labels_of(split) if _in_memory(split) else y, classes)
            if type(split) is TensorDataset and split.tensors[0].isnan().any():
                raise UserError(f"{where}: NaN is among its inputs: take those examples out, or fill them in")
            if name == "train":
                _check_loss(where, task, model, x, y)


def _in_memory(data: Dataset) -> bool:
    """Whether its labels are read as they are: elsewhere they may be changed on the way."""
    return _in_memory(data.dataset) if isinstance(data, Subset) else isinstance(data, TensorDataset)


def _batch(where: str, split: Dataset) -> tuple[Tensor, Tensor]:
    """Return a small batch of inputs and labels."""
    try:
        count = len(split)
    except TypeError:
        raise UserError(
            f"{where}: {_said(split)} has no length: use a map-style data set, such as TensorDataset"
        ) from None
    if not count:
        raise UserError(f"{where}: it is empty")
    try:
        batch = next(loading.batches(loading.sample_of(split, EXAMPLES), EXAMPLES))
    except Exception as error:
        raise UserError(f"{where}: its examples cannot be read as a batch: {_line(error)}") from error
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not pair or not all(isinstance(part, Tensor) for part in batch):
        raise UserError(f"{where}: a batch must be a pair of tensors, inputs and labels, not {_said(batch)}")
    x, y = batch
    if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise UserError(
            f"{where}: its labels have shape {tuple(y.shape)} and type {_type(y)} in a batch of {len(x)}: AutoPrune "
            f"trains classifiers, whose labels are one whole number for each example, shape ({len(x)},); "
            f"{_guess(y)} cannot be trained on"
        )
    return x, y


def _guess(labels: Tensor) -> str:
    if labels.ndim >= 3:
        return "masks of segmentation"
    if labels.ndim == 2 and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
        return "one-hot labels (use labels.argmax(1))"
    return "targets of regression" if labels.is_floating_point() else "several labels for each example"


def _classes(where: str, model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Return the number of the model's classes."""
    try:
        with torch.no_grad():
            outputs = model.eval()(x)
    except Exception as error:
        raise UserError(f"{where}: the model cannot take its inputs, {_said(x)}: {_line(error)}") from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(y):
        raise UserError(
            f"{where}: for inputs {_said(x)} the model returns {_said(outputs)}: AutoPrune trains classifiers, whose "
            f"output has shape ({len(x)}, classes)"
        )
    return outputs.shape[1]


def _check_labels(where: str, labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(
            f"{where}: its labels go from {low} to {high}, but the model has {classes} outputs: labels are 0 to "
            f"{classes - 1}"
        )


def _check_loss(where: str, task: Task, model: nn.Module, x: Tensor, y: Tensor) -> None:
    try:
        outputs = model.train()(x)
        loss = task.loss(outputs, y)
        if task.recovery.distillation:
            distillation.distillation_loss(outputs, outputs.detach(), task.recovery.temperature)
    except Exception as error:
        raise UserError(f"{where}: no loss for inputs {_said(x)}, labels {_said(y)}: {_line(error)}") from error
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        raise UserError(f"{where}: the loss must be one number with a gradient, not {_said(loss)}")
    if not torch.isfinite(loss):
        raise UserError(f"{where}: the loss of the first batch is {loss.item()}: are inputs and outputs finite?")


def _said(value: Any) -> str:
    """Return what ``value`` is, in a few words: shapes and types of tensors, keys, the kind of anything else."""
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)} and type {_type(value)}"
    if isinstance(value, dict):
        return "a dictionary of " + ", ".join(map(str, list(value)[:6]))
    if isinstance(value, tuple | list):
        return f"{len(value)} parts ({', '.join(_said(part) for part in value[:6])})"
    return f"a {type(value).__name__}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
