"""Metrics that need no evaluation of the task's own: what adds batches up to each, by name.

A new one is a class here or elsewhere, its declaration in :data:`autoprune.results.measures.METRICS`, and a line in
:data:`METERS`; another package has an entry point for each, ``autoprune.metrics`` and ``autoprune.meters``. All but the
first are torchmetrics'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autoprune.base.registry import Registry
from autoprune.base.tree import examples_in, said
from autoprune.errors import TrialFailure, UserError
from autoprune.task.objective import IGNORED, labelled, labels_in, main_output, own_loss

if TYPE_CHECKING:
    from autoprune.task.task import Task


class Meter(ABC):
    """Adds the results of batches up."""

    @abstractmethod
    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """Return the metric, by its name."""

    def sums(self) -> Tensor | None:
        """Return what was added up, shape ``(sums,)``, if the result is a function of sums alone; None if it is not."""
        return None

    def take(self, sums: Tensor) -> None:
        """Go on as if ``sums`` had been added up."""
        raise NotImplementedError


class OfTorchmetrics(Meter):
    """What adds up by one of torchmetrics' metrics."""

    _metric: Any = None

    def sums(self) -> Tensor | None:
        """Return the metric's state, if batches are added to all of it."""
        from torchmetrics.utilities import dim_zero_sum

        how = getattr(self._metric, "_reductions", {})
        if not how or any(reduction is not dim_zero_sum for reduction in how.values()):
            return None
        return torch.cat([getattr(self._metric, name).double().flatten().cpu() for name in how])

    def take(self, sums: Tensor) -> None:
        """Set the metric's state."""
        states = [getattr(self._metric, name) for name in self._metric._reductions]
        parts = sums.split([state.numel() for state in states])
        for name, state, part in zip(self._metric._reductions, states, parts, strict=True):
            setattr(self._metric, name, part.reshape(state.shape).to(state))
        self._metric._computed = None


def classified(task: Task, outputs: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """Return logits with the classes last, and labels, both flat over what is neither padding nor left out.

    Raises:
        UserError: the outputs are no logits of the batch's labels.
        TrialFailure: outputs are not numbers: the class that argmax finds among them means nothing.
    """
    found = labelled(outputs, batch)
    if found is None:
        raise UserError(
            f"task {task.name}: its metric {task.metric.name} is for logits (N, classes, ...) and whole numbers "
            f"(N, ...), not for outputs {said(outputs)} and labels {said(labels_in(batch))}: "
            "give it evaluate(model, batches)"
        )
    logits, labels, axis = found
    if logits.isnan().any():
        raise TrialFailure(
            "the network's outputs became NaN at the evaluation: lower the learning rate, or look for NaN in the data"
        )
    if labels.ndim == 1:
        return logits, labels
    counted = labels != IGNORED
    return logits.movedim(axis, -1)[counted], labels[counted]


class Accuracy(Meter):
    """The share of examples (of positions, where each has a label) whose largest output is at their label."""

    def __init__(self, task: Task) -> None:
        self._task, self._correct, self._total = task, 0, 0

    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""
        logits, labels = classified(self._task, outputs, batch)
        self._correct += int((logits.argmax(-1) == labels).sum())
        self._total += len(labels)

    def sums(self) -> Tensor:
        """Return how many are right, and how many there are."""
        return torch.tensor([self._correct, self._total], dtype=torch.float64)

    def take(self, sums: Tensor) -> None:
        """Set both."""
        self._correct, self._total = map(round, sums.tolist())

    def result(self) -> dict[str, float]:
        """Return the accuracy, in [0, 1]."""
        return {"accuracy": self._correct / max(1, self._total)}


class Classified(OfTorchmetrics):
    """One of torchmetrics' for classes, made when the number of classes is seen."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._metric: Any = None

    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""
        logits, labels = classified(self._task, outputs, batch)
        if self._metric is None:
            self._metric = self.make(logits.shape[-1]).to(logits.device)
        self._metric.update(logits, labels)

    def result(self) -> dict[str, float]:
        """Return the metric, in [0, 1]."""
        return {self._task.metric.name: float(self._metric.compute()) if self._metric else 0.0}

    def make(self, classes: int) -> Any:
        """Return torchmetrics' metric."""
        import torchmetrics.classification as kinds

        options: dict[str, dict[str, Any]] = {
            "top5": {"top_k": min(5, classes), "average": "micro"},
            "F1": {"average": "macro"},
            "mIoU": {"average": "macro"},
        }
        kind = {
            "top5": kinds.MulticlassAccuracy,
            "F1": kinds.MulticlassF1Score,
            "mIoU": kinds.MulticlassJaccardIndex,
        }[self._task.metric.name]
        return kind(num_classes=classes, **options[self._task.metric.name])


class Perplexity(Meter):
    """The exponential of the mean loss of a token: the model's own loss, or the cross-entropy."""

    def __init__(self, task: Task) -> None:
        self._task, self._loss, self._tokens = task, 0.0, 0

    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""
        labels, loss = labels_in(batch), own_loss(outputs)
        if isinstance(labels, Tensor) and labels.ndim > 1:
            # a model that computes its loss shifts the labels by itself: the first has no token before it
            count = int(((labels if loss is None else labels[..., 1:]) != IGNORED).sum())
        else:
            count = examples_in(batch)
        loss = self._task.loss(outputs, batch) if loss is None else loss
        if count:
            self._loss += float(loss) * count
            self._tokens += count

    def sums(self) -> Tensor:
        """Return the losses' sum and the number of tokens."""
        return torch.tensor([self._loss, self._tokens], dtype=torch.float64)

    def take(self, sums: Tensor) -> None:
        """Set both."""
        self._loss, self._tokens = sums.tolist()

    def result(self) -> dict[str, float]:
        """Return the perplexity, 1 or more."""
        return {"perplexity": float(torch.tensor(self._loss / max(1, self._tokens)).exp())}


class Regression(OfTorchmetrics):
    """One of torchmetrics' for numbers."""

    def __init__(self, task: Task) -> None:
        import torchmetrics.regression as kinds

        make = {"rmse": lambda: kinds.MeanSquaredError(squared=False), "mae": kinds.MeanAbsoluteError}
        self._task, self._metric = task, (make | {"r2": kinds.R2Score})[task.metric.name]()

    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""
        numbers, wanted = main_output(outputs), labels_in(batch)
        if not isinstance(numbers, Tensor) or not isinstance(wanted, Tensor) or numbers.numel() != wanted.numel():
            raise UserError(
                f"task {self._task.name}: its metric {self._task.metric.name} is for as many numbers as labels, not "
                f"for outputs {said(outputs)} and labels {said(wanted)}: give it evaluate(model, batches)"
            )
        self._metric.to(numbers.device).update(numbers.flatten().float(), wanted.flatten().float())

    def result(self) -> dict[str, float]:
        """Return the metric."""
        return {self._task.metric.name: float(self._metric.compute())}


class Detection(OfTorchmetrics):
    """COCO's mean average precision, of outputs and labels as torchvision's detectors have them."""

    def __init__(self, task: Task) -> None:
        try:
            from torchmetrics.detection import MeanAveragePrecision

            self._metric = MeanAveragePrecision()
        except ImportError as error:
            raise UserError(f"task {task.name}: the metric mAP needs pycocotools: {error}") from None

    def add(self, outputs: Any, batch: Any) -> None:
        """Count a batch."""
        self._metric.update(outputs, list(labels_in(batch)))

    def result(self) -> dict[str, float]:
        """Return mAP over the IoUs from 0.5 to 0.95."""
        found = self._metric.compute()
        return {"mAP": max(0.0, float(found["map"])), "mAP50": max(0.0, float(found["map_50"]))}


METERS: Registry[Any] = Registry(
    "metric",
    {
        "accuracy": "autoprune.train.metrics:Accuracy",
        "top5": "autoprune.train.metrics:Classified",
        "F1": "autoprune.train.metrics:Classified",
        "mIoU": "autoprune.train.metrics:Classified",
        "mAP": "autoprune.train.metrics:Detection",
        "perplexity": "autoprune.train.metrics:Perplexity",
        "rmse": "autoprune.train.metrics:Regression",
        "mae": "autoprune.train.metrics:Regression",
        "r2": "autoprune.train.metrics:Regression",
    },
    "autoprune.meters",
)
"""Metric -> what makes its meter, given the task."""
