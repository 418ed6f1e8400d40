"""How images lie in memory while a network is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base import memory
from autoprune.base.modes import evaluating
from autoprune.base.tree import device_of, map_tensors
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task
from autoprune.train import evaluation


def helps(device: torch.device, precision: str) -> bool:
    """Say whether convolutions are known to be faster channels last: on tensor cores, that is on CUDA in 16 bits."""
    return device.type == "cuda" and precision in ("bf16", "fp16")


class Layout:
    """Lays batches of images out channels last where that helps; whatever is computed of them then is laid out so too.

    Weights stay as they are. The first batch is tried: a network or a loss that takes tensors apart by ``view`` may
    not bear it, and then all batches stay as they are.

    Args:
        task: whose loss is tried.
        model: the network that is trained.
        recipe: with which precision.
    """

    def __init__(self, task: Task, model: nn.Module, recipe: Recipe) -> None:
        convolves = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
        self._task, self._model = task, model
        self._is_wanted, self._is_tried = convolves and helps(device_of(model), recipe.precision), False

    def __call__(self, batch: Any) -> Any:
        """Return a batch as it is to lie."""
        if not self._is_wanted:
            return batch
        laid_out = map_tensors(_channels_last, batch)
        if not self._is_tried:
            self._is_tried, self._is_wanted = True, self._bears(laid_out)
        return laid_out if self._is_wanted else batch

    @torch.no_grad()
    def _bears(self, batch: Any) -> bool:
        try:
            with evaluating(self._model):
                evaluation.loss_of(self._task, self._model, batch)
        except RuntimeError as error:
            if memory.is_used_up(error):
                raise
            return False
        return True


def _channels_last(tensor: Tensor) -> Tensor:
    images = tensor.ndim == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if images else tensor
