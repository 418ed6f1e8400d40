"""Training, recovering and evaluating a network; the same seed gives the same weights on the same machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base import streams
from autoprune.base.progress import note, track
from autoprune.base.tree import device_of, to_device
from autoprune.errors import TrialFailure, UserError
from autoprune.task.recipe import Recipe
from autoprune.task.task import Data, Task
from autoprune.train.batch_norm import reestimate_batch_norm
from autoprune.train.layout import Layout
from autoprune.train.loading import endless_batches
from autoprune.train.optimization import Optimization


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
        _fit(task, model, stop - start, seed, after_step)
        stop = start
    if start < stop:
        optimization = Optimization(model, recipe)
        schedule = make_schedule(optimization.optimizer, recipe, start)
    model.train()
    device, lay_out = device_of(model), Layout(task, model, recipe)
    batches = islice(endless_batches(data, recipe.batch_size, seed, device), start * recipe.accumulation, None)
    for step in track(range(start, stop), "training step", stop - start):
        optimization.begin()
        for _ in range(recipe.accumulation):
            batch = lay_out(to_device(next(batches), device))
            with optimization.precision():
                loss = _loss(task, model, batch, recipe, teacher)
                if penalty is not None:
                    loss = loss + penalty()
            if not torch.isfinite(loss):
                raise TrialFailure(f"the loss became {loss.item()} at step {step}: lower the learning rate")
            optimization.backward(loss / recipe.accumulation)
        optimization.step(before_step)
        schedule.step()
        after_step()
        note("loss {:.3g}".format, loss.detach())
    if start < stop and recipe.averaging:
        optimization.finish()
        after_step()
    if recipe.bn_reestimation and (stop == recipe.steps or task.fit is not None):
        reestimate_batch_norm(task, model, data, recipe, seed)
    model.eval()


def _loss(task: Task, model: nn.Module, batch: Any, recipe: Recipe, teacher: nn.Module | None) -> Tensor:
    """Return the task's own loss, or its mixture with the distance from a teacher's outputs."""
    outputs = task.run(model, batch)
    loss = task.loss(outputs, batch)
    if teacher is None or not recipe.distillation:
        return loss
    with torch.no_grad():
        target = task.run(teacher, batch)
    soft = task.distillation(outputs, target, batch, recipe.temperature)
    return loss if soft is None else (1 - recipe.distillation) * loss + recipe.distillation * soft


def _fit(task: Task, model: nn.Module, steps: int, seed: int, after_step: Callable[[], None]) -> None:
    """Have the task's own loop train the model; what follows each step follows before each pass instead."""
    if steps < 1 or task.fit is None:
        return
    handle = None if after_step is nothing else model.register_forward_pre_hook(lambda *_: after_step())
    try:
        with streams.fixed(seed):  # it may draw from Python's and NumPy's generators as well
            task.fit(model, steps)
    except TrialFailure:
        raise
    except Exception as error:
        raise TrialFailure(f"the task's fit failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        if handle is not None:
            handle.remove()
    after_step()


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, start: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning rate's schedule, at the step ``start``."""
    schedule: torch.optim.lr_scheduler.LRScheduler
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
