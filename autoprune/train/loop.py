"""Training, recovering and evaluating a network; the same seed gives the same weights on the same machine."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from autoprune.errors import TrialFailure
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task
from autoprune.train.modes import evaluating


def nothing() -> None:
    """Do nothing."""


@torch.random.fork_rng(devices=[])
def train(
    task: Task,
    model: nn.Module,
    data: Dataset,
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
    """
    torch.default_generator.manual_seed(seed)
    stop = recipe.steps if stop is None else stop
    if start < stop:
        optimizer = make_optimizer(model, recipe)
        schedule = make_schedule(optimizer, recipe, start)
    model.train()
    data_from_start = islice(endless_batches(data, recipe.batch_size, seed), start, None)
    for step, (x, y) in zip(range(start, stop), data_from_start, strict=False):
        outputs = model(x)
        loss = task.loss(outputs, y)
        if teacher is not None and recipe.distillation:
            with torch.no_grad():
                target = teacher(x)
            soft = distillation_loss(outputs, target, recipe.temperature)
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
    if recipe.bn_reestimation and stop == recipe.steps:
        reestimate_batch_norm(model, data, recipe, seed)
    model.eval()


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


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, data: Dataset, recipe: Recipe, seed: int = 0) -> None:
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
        for x, _ in islice(endless_batches(data, recipe.batch_size, seed), recipe.bn_reestimation):
            model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def distillation_loss(outputs: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened class probabilities, times the squared temperature (Hinton et al. 2015).

    Args:
        outputs: student logits, shape ``(N, classes)``.
        target: teacher logits, same shape.
    """
    student, teacher = (F.log_softmax(logits / temperature, dim=-1) for logits in (outputs, target))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


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


def sample_of(data: Dataset, most: int, seed: int = 0) -> Dataset:
    """Return ``most`` examples of ``data`` drawn by ``seed``, in their order, or all if it has no more.

    Where the labels are known without reading the examples (:func:`labels_of`), each class has its share of them, and
    at least one example if there are as many.
    """
    if len(data) <= most:
        return data
    order = torch.randperm(len(data), generator=stream(seed, "sample"))
    labels = labels_of(data)
    if labels is not None:
        _, number, counts = labels[order].unique(return_inverse=True, return_counts=True)
        by_class = number.argsort(stable=True)
        rank = torch.arange(len(data)) - (counts.cumsum(0) - counts)[number[by_class]]  # of each within its class
        share = rank / counts[number[by_class]]
        order = order[by_class[share.argsort(stable=True)]]
    chosen = order[:most].sort().values
    if isinstance(data, TensorDataset):
        return TensorDataset(*(tensor[chosen] for tensor in data.tensors))
    return Subset(data, chosen.tolist())


def labels_of(data: Dataset) -> Tensor | None:
    """Return the labels of all examples, shape ``(N,)``, where they can be had without reading these; else None.

    They are the second tensor of a ``TensorDataset``, or the ``targets`` or ``labels`` that torchvision's data sets
    have; also of a ``Subset`` of such.
    """
    if isinstance(data, Subset):
        labels = labels_of(data.dataset)
        return None if labels is None else labels[torch.as_tensor(data.indices)]
    if isinstance(data, TensorDataset):
        found = data.tensors[1] if len(data.tensors) == 2 else None
    else:
        found = getattr(data, "targets", getattr(data, "labels", None))
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return None
    whole = not labels.is_floating_point() and not labels.is_complex()
    return labels if labels.shape == (len(data),) and whole else None


def stream(seed: int, purpose: str) -> torch.Generator:
    """Return a generator of random numbers of its own for each purpose."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def endless_batches(data: Dataset, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches for ever, a new order each epoch, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from batches(data, batch_size, generator)


def batches(data: Dataset, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of batches; a ``TensorDataset`` is indexed whole, which is far faster than item by item.

    Shuffled batches leave out an incomplete last one (batch norm cannot train on a single example).
    """
    drop_last = shuffle is not None and len(data) > batch_size
    if not isinstance(data, TensorDataset):
        chance = shuffle or torch.Generator()  # without one of its own it draws from the global generator
        yield from DataLoader(data, batch_size, shuffle=shuffle is not None, generator=chance, drop_last=drop_last)
        return
    order = torch.arange(len(data)) if shuffle is None else torch.randperm(len(data), generator=shuffle)
    for part in order.split(batch_size):
        if not drop_last or len(part) == batch_size:
            yield tuple(tensor[part] for tensor in data.tensors)
