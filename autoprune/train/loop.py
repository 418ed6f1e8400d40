"""Training, recovering and evaluating a network; the same seed gives the same weights on the same machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor, nn

from autoprune.base import streams
from autoprune.base.tree import device_of, to_device
from autoprune.errors import TrialFailure, UserError
from autoprune.task.recipe import Recipe
from autoprune.task.task import Data, Task
from autoprune.train.batch_norm import reestimate_batch_norm
from autoprune.train.loading import endless_batches


def nothing() -> None:
    """Do nothing."""


@streams.by_its_seed
def train(
    task: Task,
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    seed: int = 0,
    teacher: nn.Module | None = None,
    after_step: Callable[[], None] = nothing,
    before_step: Callable[[], None] = nothing,
    penalty: Callable[[], Tensor] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> None:
    """Train ``model`` in place for ``recipe.steps`` steps and leave it in evaluation mode.

    Args:
        task: gives the loss.
        data: the training split.
        seed: order of the batches, dropout.
        teacher: a network whose softened outputs are matched too, weighted by ``recipe.distillation``.
        after_step: called after every optimiser step (to re-apply weight masks, say).
        before_step: called before every optimiser step, when the gradients are there.
        penalty: added to every step's loss (to press weights towards zero, say).
        start: the first step of the recipe to carry out, as if those before it had been.
        stop: the step of the recipe to stop before.

    Raises:
        TrialFailure: the loss is NaN or infinite.
        UserError: the task has its own ``fit``, and each step is needed here.
    """
    stop = recipe.steps if stop is None else stop
    if task.fit is not None:
        if before_step is not nothing or penalty is not None:
            raise UserError(f"task {task.name} has its own fit, and this criterion or schedule needs each of its steps")
        _fit(task, model, stop - start, after_step)
        stop = start
    if start < stop:
        optimizer = make_optimizer(model, recipe)
        schedule = make_schedule(optimizer, recipe, start)
    model.train()
    data_from_start = islice(endless_batches(data, recipe.batch_size, seed), start, None)
    device = device_of(model)
    for step, on_cpu in zip(range(start, stop), data_from_start, strict=False):
        batch = to_device(on_cpu, device)
        outputs = task.run(model, batch)
        loss = task.loss(outputs, batch)
        if teacher is not None and recipe.distillation:
            with torch.no_grad():
                target = task.run(teacher, batch)
            soft = task.distillation(outputs, target, batch, recipe.temperature)
            if soft is not None:
                loss = (1 - recipe.distillation) * loss + recipe.distillation * soft
        if penalty is not None:
            loss = loss + penalty()
        if not torch.isfinite(loss):
            raise TrialFailure(f"the loss became {loss.item()} at step {step}: lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        before_step()
        optimizer.step()
        schedule.step()
        after_step()
    if recipe.bn_reestimation and (stop == recipe.steps or task.fit is not None):
        reestimate_batch_norm(task, model, data, recipe, seed)
    model.eval()


def _fit(task: Task, model: nn.Module, steps: int, after_step: Callable[[], None]) -> None:
    """Have the task's own loop train the model; what follows each step follows before each pass instead."""
    if steps < 1:
        return
    handle = None if after_step is nothing else model.register_forward_pre_hook(lambda *_: after_step())
    try:
        task.fit(model, steps)
    except TrialFailure:
        raise
    except Exception as error:
        raise TrialFailure(f"the task's fit failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        if handle is not None:
            handle.remove()
    after_step()


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser for the parameters of ``model``."""
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), **options)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **options)
    return torch.optim.SGD(model.parameters(), momentum=recipe.momentum, nesterov=recipe.momentum > 0, **options)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, start: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning rate's schedule, at the step ``start``."""
    if recipe.schedule == "onecycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.1, cycle_momentum=False
        )
    elif recipe.schedule == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    else:
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch expects optimiser steps between these
        for _ in range(start):
            schedule.step()
    return schedule
