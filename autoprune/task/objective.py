"""What a task does with a batch where it does not say so itself: forward pass, loss, and learning from a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from autoprune.base.tree import said

LOGITS = ("logits", "out", "prediction_logits")
"""Where models keep their main output: transformers', torchvision's segmentation models'."""

LABELS = ("labels", "label", "targets", "target", "y")
"""Where batches that are mappings keep their labels."""

IGNORED = -100
"""The label that PyTorch and transformers leave out of a loss."""


def inputs_of(batch: Any, example: Any) -> Any:
    """Return the part of a batch that the model is called with, in the form of the task's example input.

    Of a mapping the names that the example has, or all if that is no mapping; of a tuple or list as many parts, from
    the first, as the example has; a tensor is taken as it is.
    """
    if isinstance(batch, Mapping):
        return {name: batch[name] for name in example if name in batch} if isinstance(example, Mapping) else batch
    if isinstance(batch, tuple | list):
        return tuple(batch[: len(example)]) if isinstance(example, tuple | list) else batch[0]
    return batch


def labels_in(batch: Any) -> Any:
    """Return the labels of a batch: the last part of a tuple or list, or the first of :data:`LABELS`; None if none."""
    if isinstance(batch, Mapping):
        return next((batch[name] for name in LABELS if name in batch), None)
    return batch[-1] if isinstance(batch, tuple | list) and len(batch) > 1 else None


def main_output(outputs: Any) -> Tensor | None:
    """Return the tensor that a model's outputs are about: logits, say; None if there is no telling."""
    if isinstance(outputs, Tensor):
        return outputs
    for name in LOGITS:
        found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(outputs, tuple | list) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    return None


def own_loss(outputs: Any) -> Tensor | None:
    """Return the loss that a model computed itself: transformers' ``loss``, or the sum of a detector's losses."""
    if isinstance(outputs, Mapping) and outputs and all("loss" in str(name) for name in outputs):
        parts = [part for part in outputs.values() if isinstance(part, Tensor)]
        return torch.stack([part.sum() for part in parts]).sum() if parts else None
    found = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    return found if isinstance(found, Tensor) else None


def default_loss(outputs: Any, batch: Any) -> Tensor:
    """Return the model's own loss where it has one, else the cross-entropy of its logits with the batch's labels.

    Args:
        outputs: logits of shape ``(N, classes)``, ``(N, classes, ...)`` or ``(N, ..., classes)``, or what holds them.
        batch: has whole numbers of shape ``(N,)`` or ``(N, ...)`` as its labels; -100 is left out.

    Raises:
        TypeError: there are no logits, no labels, or they do not fit each other.
    """
    own = own_loss(outputs)
    if own is not None:
        return own
    found = labelled(outputs, batch)
    if found is None:
        raise TypeError(
            f"the default loss is the cross-entropy of logits (N, classes, ...) with whole numbers (N, ...), but the "
            f"model returns {said(outputs)} for labels {said(labels_in(batch))}: give the task a loss(outputs, batch)"
        )
    logits, labels, axis = found
    return F.cross_entropy(logits if axis == 1 else logits.movedim(axis, 1), labels, ignore_index=IGNORED)


class Labelled(NamedTuple):
    """Logits, the whole numbers that are their labels, and the axis of the logits along which the classes lie."""

    logits: Tensor
    labels: Tensor
    axis: int


def labelled(outputs: Any, batch: Any) -> Labelled | None:
    """Return the logits and labels of a classifier's outputs; None where they are none."""
    logits, labels = main_output(outputs), labels_in(batch)
    axis = class_axis(logits, labels, batch)
    return None if logits is None or axis is None else Labelled(logits, labels, axis)


def class_axis(logits: Any, labels: Any, batch: Any = None) -> int | None:
    """Return the axis of ``logits`` along which the classes lie, 1 or the last, by the shape of the labels.

    Where both fit, as with as many tokens as classes, it is the last of a batch that is a dictionary (tokens come so),
    and else 1.
    """
    if not isinstance(logits, Tensor) or not isinstance(labels, Tensor) or logits.ndim < 2:
        return None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return None
    axes = (logits.ndim - 1, 1) if isinstance(batch, Mapping) else (1, logits.ndim - 1)
    for axis in axes:
        if labels.shape == logits.shape[:axis] + logits.shape[axis + 1 :]:
            return axis
    return None


def default_distillation(outputs: Any, teacher: Any, batch: Any, temperature: float) -> Tensor | None:
    """Return how far the outputs are from a teacher's, by their kind; None where there is no telling.

    Class probabilities: the Kullback-Leibler divergence, softened, times the squared temperature (Hinton et al. 2015),
    over the axis of the classes, at the positions that are neither padding nor left out of the loss. Other numbers: the
    squared error.
    """
    student, target, labels = main_output(outputs), main_output(teacher), labels_in(batch)
    if student is None or target is None or student.shape != target.shape:
        return None
    axis = class_axis(student, labels, batch)
    if axis is None:
        numbers = isinstance(labels, Tensor) and labels.is_floating_point() and labels.numel() == student.numel()
        return F.mse_loss(student, target) if numbers else None
    return softened_divergence(student, target, temperature, axis, _counted(labels, batch))


def _counted(labels: Tensor, batch: Any) -> Tensor | None:
    """Return where a position counts, of the labels' shape; None if all do."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    counted = labels != IGNORED
    if isinstance(mask, Tensor) and mask.shape == labels.shape:
        counted = counted & mask.bool()
    return counted if labels.ndim > 1 else None


def softened_divergence(
    student: Tensor, teacher: Tensor, temperature: float, axis: int = -1, counted: Tensor | None = None
) -> Tensor:
    """Return the Kullback-Leibler divergence of softened class probabilities, times the squared temperature.

    Args:
        student: logits.
        teacher: logits, same shape.
        axis: of the classes.
        counted: booleans of the logits' shape without that axis; all positions count if None.
    """
    student, teacher = (F.log_softmax(logits / temperature, dim=axis) for logits in (student, teacher))
    if student.ndim == 2:
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
    each = F.kl_div(student, teacher, reduction="none", log_target=True).sum(axis)
    counts = torch.ones_like(each) if counted is None else counted.to(each.dtype)
    return (each * counts).sum() / counts.sum().clamp_min(1) * temperature**2
