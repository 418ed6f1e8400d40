"""Segmentation of scenes composed of scikit-learn's real handwritten digits: which digit, if any, is each pixel of?"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from autoprune.task.builtin import composed
from autoprune.task.models.unet import UNet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

WEIGHTS = torch.tensor([0.2] + [1.0] * 10)
"""Of the classes in the loss: nine pixels of ten are background."""


def data() -> Splits:
    """800 training, 160 validation and 160 test scenes, shape (1, 32, 32), with masks of 11 classes, (32, 32)."""
    return Splits(**{name: TensorDataset(each.images, each.masks) for name, each in composed.splits().items()})


def loss(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the weighted cross-entropy of the pixels."""
    return F.cross_entropy(outputs, batch[1], weight=WEIGHTS.to(outputs))


task = Task(
    name="digits-segmentation",
    model=partial(UNet, classes=11),
    data=data,
    example=torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=250, batch_size=16, learning_rate=0.01, optimizer="adamw"),
    recovery=Recipe(steps=100, batch_size=16, learning_rate=0.01, optimizer="adamw", distillation=0.2),
    loss=loss,
    metric="mIoU",
)
