"""Detection in scenes composed of scikit-learn's real handwritten digits: which are there, and where?"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autoprune.task.builtin import composed
from autoprune.task.models import fcos
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]
"""Images, and the ``boxes`` and ``labels`` of each, as torchvision's detectors have them."""


class Boxes(Dataset):
    """Scenes, each with a dictionary of its boxes and labels."""

    def __init__(self, scenes: composed.Scenes) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes.images)

    def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self._scenes.images[i], {"boxes": self._scenes.boxes[i], "labels": self._scenes.labels[i]}


def listed(examples: list[tuple[Tensor, dict[str, Tensor]]]) -> Batch:
    """Return a batch as two lists: the scenes have different numbers of boxes."""
    images, targets = zip(*examples, strict=True)
    return list(images), list(targets)


def data() -> Splits:
    """800 training, 160 validation and 160 test scenes in loaders, with one to four boxes each."""
    found = {name: Boxes(scenes) for name, scenes in composed.splits().items()}
    return Splits(**{name: DataLoader(each, 16, name == "train", collate_fn=listed) for name, each in found.items()})


def forward(model: nn.Module, batch: Batch) -> Tensor:
    """Return the outputs for a batch of images, which are all of one size."""
    return model(torch.stack(batch[0]))


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the detector's loss, see :func:`autoprune.task.models.fcos.loss`."""
    return fcos.loss(outputs, batch[1])


def distill(outputs: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    """Return how far the outputs are from a teacher's, see :func:`autoprune.task.models.fcos.distillation`."""
    return fcos.distillation(outputs, teacher)


def evaluate(model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """Return COCO's mean average precision, over IoUs from 0.5 to 0.95 and at 0.5."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision()
    for batch in batches:
        metric.update(fcos.detections(forward(model, batch)), batch[1])
    found = metric.compute()
    return {"mAP": max(0.0, float(found["map"])), "mAP50": max(0.0, float(found["map_50"]))}


task = Task(
    name="digits-detection",
    model=partial(fcos.FCOS, classes=10),
    data=data,
    example=torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=250, learning_rate=0.003, optimizer="adamw", weight_decay=0.01),
    recovery=Recipe(steps=80, learning_rate=0.002, optimizer="adamw", weight_decay=0.01, distillation=0.5),
    forward=forward,
    loss=loss,
    distill=distill,
    evaluate=evaluate,
    metric="mAP",
)
