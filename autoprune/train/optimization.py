"""An optimiser as a recipe has it: precision, accumulated and clipped gradients, averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autoprune.base.tree import device_of
from autoprune.errors import UserError
from autoprune.task.recipe import Recipe

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The type in which a precision computes what bears it; weights stay in their own."""


class Optimization:
    """Makes optimiser steps for the parameters of a network.

    Args:
        model: where its parameters are decides the device.
        recipe: optimiser, precision, clipping, averaging.

    Raises:
        UserError: the device cannot compute in the recipe's precision.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._model, self._recipe, self._device = model, recipe, device_of(model)
        check_precision(recipe.precision, self._device)
        self.optimizer = make_optimizer(model, recipe)
        self._scaler = torch.amp.GradScaler(self._device.type) if recipe.precision == "fp16" else None
        self._average = None
        if recipe.averaging:
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))

    def begin(self) -> None:
        """Forget the gradients of the step before."""
        self.optimizer.zero_grad()

    def precision(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes and losses are computed."""
        dtype = DTYPES[self._recipe.precision]
        return nullcontext() if dtype is None else torch.autocast(self._device.type, dtype)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those that are there."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, before_step: Callable[[], None] = lambda: None) -> None:
        """Make a step by the gradients."""
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        if self._recipe.clip is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip)
        before_step()
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self._model)

    @torch.no_grad()
    def finish(self) -> None:
        """Give the model its averaged weights, if the recipe averages them."""
        if self._average is not None and self._average.n_averaged > 0:
            for own, mean in zip(self._model.parameters(), self._average.module.parameters(), strict=True):
                own.copy_(mean)


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device computes in a precision.

    Raises:
        UserError: it does not.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 needs a GPU: use bf16 or fp32 on the CPU")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(f"{torch.cuda.get_device_name(device)} has no bf16: use fp16 or fp32")


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser for the parameters of ``model``."""
    options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), **options)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **options)
    return torch.optim.SGD(model.parameters(), momentum=recipe.momentum, nesterov=recipe.momentum > 0, **options)
