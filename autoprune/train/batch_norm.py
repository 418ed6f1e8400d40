"""The statistics of batch norms, computed anew."""

from __future__ import annotations

from itertools import islice

import torch
from torch import nn

from autoprune.base.tree import device_of, to_device
from autoprune.task.recipe import Recipe
from autoprune.task.task import Data, Task
from autoprune.train.loading import endless_batches


@torch.no_grad()
def reestimate_batch_norm(task: Task, model: nn.Module, data: Data, recipe: Recipe, seed: int = 0) -> None:
    """Compute the batch norms' statistics anew, as the plain mean over ``recipe.bn_reestimation`` training batches.

    Pruning shifts them, and an accuracy measured with the old ones tells little (EagleEye, Li et al. 2020).
    """
    model.eval()
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    if norms:
        device = device_of(model)
        for batch in islice(endless_batches(data, recipe.batch_size, seed, device), recipe.bn_reestimation):
            task.run(model, to_device(batch, device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
