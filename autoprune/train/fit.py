"""Whether a task's parts fit together: one batch goes through all of them before anything long begins."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from autoprune.base import streams
from autoprune.base.tree import device_of, said, tensors_of, to_device
from autoprune.errors import UserError, in_a_line
from autoprune.task.objective import default_loss, labelled, labels_in, main_output, own_loss
from autoprune.task.task import Data, Splits, Task
from autoprune.train import evaluation, loading

EXAMPLES = 4
"""Examples in the batch that is tried."""


def check_data(task: Task, data: Splits, model: nn.Module) -> list[str]:
    """Put one small batch of each split through the model, and one of the training split through loss and evaluation.

    Nothing is changed: neither the model nor the random numbers that others draw.

    Returns:
        What a user should know, a line each: that nothing is learnt from the dense model's outputs, say.

    Raises:
        UserError: the model, the loss, the evaluation and the data do not fit together; in one line, with the shapes.
    """
    if not all(hasattr(data, name) for name in Splits._fields):
        raise UserError(
            f"task {task.name}: data() must return autoprune.Splits(train, validation, test), not {said(data)}"
        )
    model, notes = copy.deepcopy(model), []
    with streams.fixed():
        for name in Splits._fields:
            where, split = f"task {task.name}, {name} split", getattr(data, name)
            batch = _batch(where, split)
            outputs = _outputs(where, task, model, batch)
            _check_classes(where, task, split, outputs, batch)
            if type(split) is TensorDataset and split.tensors[0].isnan().any():
                raise UserError(f"{where}: NaN is among its inputs: take those examples out, or fill them in")
            if name == "train":
                notes += _check_loss(where, task, model, batch)
            if name == "validation":
                _check_evaluation(where, task, model, split)
    return notes


def _in_memory(data: Data) -> bool:
    """Whether its labels are read as they are: elsewhere they may be changed on the way."""
    return _in_memory(data.dataset) if isinstance(data, Subset) else isinstance(data, TensorDataset)


def _batch(where: str, split: Data) -> Any:
    """Return a small batch."""
    streamed = isinstance(split, DataLoader | IterableDataset)
    try:
        count = None if streamed else loading.length(split)
    except TypeError:
        raise UserError(
            f"{where}: {said(split)} has no length: use a map-style data set, an IterableDataset or a DataLoader"
        ) from None
    if count == 0:
        raise UserError(f"{where}: it is empty")
    sample = split if streamed else loading.sample_of(split, EXAMPLES)
    try:
        batch = next(loading.batches(sample, EXAMPLES), None)
    except Exception as error:
        raise UserError(f"{where}: its examples cannot be read as a batch: {in_a_line(error)}") from error
    if batch is None:
        raise UserError(f"{where}: it is empty")
    if next(tensors_of(batch), None) is None:
        raise UserError(f"{where}: a batch must hold tensors, not be {said(batch)}")
    return batch


def _outputs(where: str, task: Task, model: nn.Module, batch: Any) -> Any:
    try:
        with torch.no_grad():
            return task.run(model.eval(), to_device(batch, device_of(model)))
    except Exception as error:
        hint = "" if task.forward else "; if it is called in another way, give the task a forward(model, batch)"
        raise UserError(f"{where}: the model cannot take a batch, {said(batch)}: {in_a_line(error)}{hint}") from error


def _check_classes(where: str, task: Task, split: Data, outputs: Any, batch: Any) -> None:
    """Check the labels of a classifier that AutoPrune's own loss trains."""
    if task.loss is not default_loss or own_loss(outputs) is not None:
        return
    classified = labelled(outputs, batch)
    if classified is None:
        labels = labels_in(batch)
        if main_output(outputs) is not None:  # else the model may have a loss of its own in training
            raise UserError(
                f"{where}: the default loss is a classifier's, for outputs (N, classes, ...) and whole numbers "
                f"(N, ...), but the labels are {said(labels)} and the outputs {said(outputs)}{_guess(labels)}: give "
                "the task a loss(outputs, batch)"
            )
        return
    logits, labels, axis = classified
    found = loading.labels_of(split) if _in_memory(split) else None
    seen = labels if found is None else found
    seen, classes = seen[seen != -100], logits.shape[axis]
    if seen.numel() and (int(seen.min()) < 0 or int(seen.max()) >= classes):
        raise UserError(
            f"{where}: its labels go from {int(seen.min())} to {int(seen.max())}, but the model has {classes} outputs: "
            f"labels are 0 to {classes - 1}"
        )


def _guess(labels: Any) -> str:
    if not isinstance(labels, Tensor):
        return ""
    if labels.ndim == 2 and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
        return ", one-hot labels (use labels.argmax(1))"
    return ", targets of regression" if labels.is_floating_point() else ""


def _check_loss(where: str, task: Task, model: nn.Module, batch: Any) -> list[str]:
    batch = to_device(batch, device_of(model))
    try:
        outputs = task.run(model.train(), batch)
        loss = task.loss(outputs, batch)
    except Exception as error:
        hint = _former_loss(task, model, batch)
        raise UserError(f"{where}: no loss for a batch, {said(batch)}: {hint or in_a_line(error)}") from error
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        raise UserError(f"{where}: the loss must be one number with a gradient, not {said(loss)}")
    if not torch.isfinite(loss):
        raise UserError(f"{where}: the loss of the first batch is {loss.item()}: are inputs and outputs finite?")
    if not task.recovery.distillation:
        return []
    with torch.no_grad():
        taught = task.run(model.eval(), batch)
    try:
        soft = task.distillation(outputs, taught, batch, task.recovery.temperature)
    except Exception as error:
        raise UserError(f"{where}: no distillation for outputs {said(outputs)}: {in_a_line(error)}") from error
    if soft is None:
        return [
            f"task {task.name}: nothing is learnt from the dense model's outputs ({said(outputs)}): give the task a "
            "distill(outputs, teacher_outputs, batch), or its recovery distillation=0"
        ]
    if not isinstance(soft, Tensor) or soft.ndim:
        raise UserError(f"{where}: distill must return one number, not {said(soft)}")
    return []


def _former_loss(task: Task, model: nn.Module, batch: Any) -> str | None:
    """Return what to change where a loss takes the labels, as it did before version 0.2."""
    try:
        task.loss(task.run(model, batch), labels_in(batch))
    except Exception:
        return None
    return "a loss takes the batch since version 0.2, not the labels: loss(outputs, batch), with batch[1] the labels"


def _check_evaluation(where: str, task: Task, model: nn.Module, split: Data) -> None:
    try:
        evaluation.evaluate(task, model, loading.sample_of(split, EXAMPLES))
    except UserError as error:
        raise UserError(f"{where}: {str(error).removeprefix(f'task {task.name}: ')}") from error
    except Exception as error:
        raise UserError(f"{where}: its evaluation fails: {in_a_line(error)}") from error
