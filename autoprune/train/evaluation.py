"""How good a network is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoprune.errors import TrialFailure
from autoprune.train.loading import batches
from autoprune.train.modes import evaluating


@torch.no_grad()
def accuracy(model: nn.Module, data: Dataset, batch_size: int = 512) -> float:
    """Return the fraction of ``data`` that ``model`` classifies correctly, in [0, 1].

    Raises:
        TrialFailure: outputs are not numbers.
    """
    correct = total = 0
    with evaluating(model):
        for x, y in batches(data, batch_size):
            correct += count_correct(model(x), y)
            total += len(y)
    return correct / total


def count_correct(outputs: Tensor, labels: Tensor) -> int:
    """Return how many of the ``outputs``, shape ``(N, classes)``, are largest at their label.

    Raises:
        TrialFailure: outputs are not numbers: the class that argmax finds among them means nothing.
    """
    if outputs.isnan().any():
        raise TrialFailure(
            "the network's outputs became NaN at the evaluation: lower the learning rate, or look for NaN in the data"
        )
    return int((outputs.argmax(-1) == labels).sum())
