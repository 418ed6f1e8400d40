"""Training a chosen model further before it is taken home."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn

from autoprune.prune.dense import Dense
from autoprune.results.measures import METRIC, Measure
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loop


@dataclass(frozen=True)
class Recovery:
    """What more fine-tuning did.

    Args:
        model: the better of the two on validation data: the fine-tuned one, or the one that it started from.
        steps: optimiser steps.
        before: the metric on validation data before.
        after: the same after.
        metric: it.
    """

    model: nn.Module
    steps: int
    before: float
    after: float
    metric: Measure = METRIC

    @property
    def kept(self) -> bool:
        """Whether the fine-tuned model is the better one."""
        return self.metric.cost(self.after) <= self.metric.cost(self.before)


def recover(task: Task, model: nn.Module, dense: Dense, data: Splits, steps: int, seed: int = 0) -> Recovery:
    """Fine-tune a copy of a pruned model by the task's recovery recipe, with the dense model as its teacher.

    Weights that are zero stay zero. The test split is not looked at.

    Args:
        steps: optimiser steps, in the place of the recipe's.
        seed: order of the batches.

    Raises:
        TrialFailure: the loss is NaN or infinite.
    """
    tuned = copy.deepcopy(model)
    masks = [(p, p != 0) for p in tuned.parameters() if p.dim() > 1 and not p.all()]

    @torch.no_grad()
    def apply_masks() -> None:
        for parameter, mask in masks:
            parameter.mul_(mask)

    recipe = replace(task.recovery, steps=steps)
    loop.train(task, tuned, data.train, recipe, seed, dense.model, after_step=apply_masks)
    before, after = (evaluation.quality(task, each, data.validation) for each in (model, tuned))
    found = Recovery(tuned, steps, before, after, task.metric)
    return found if found.kept else replace(found, model=model)
