"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoprune.base import streams
from autoprune.errors import UserError
from autoprune.task.accepted import accepted
from autoprune.task.builtin import TASKS


class Splits(NamedTuple):
    """The three splits of a data set, each a map-style dataset of ``(input, label)`` pairs.

    The search sees ``train`` and ``validation`` only; ``test`` is for the figures reported at the end.
    A ``TensorDataset`` is read in whole batches and is much the fastest.
    """

    train: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, or recovers: by SGD with Nesterov momentum and a one-cycle learning rate, unless told.

    Args:
        steps: optimiser steps; 0 for none.
        batch_size: examples per step.
        learning_rate: the highest learning rate.
        momentum: Nesterov momentum of SGD.
        weight_decay: L2 penalty (decoupled from the gradient by ``adamw``).
        distillation: weight of the distillation loss (Hinton et al. 2015) against the task's own, in [0, 1].
            It counts only where a teacher is at hand.
        temperature: softmax temperature of the distillation loss.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        schedule: of the learning rate: ``onecycle`` (up over a tenth of the steps, then down to nothing), ``cosine``
            (down to nothing) or ``constant``.
        bn_reestimation: batches over which the batch norms' statistics are computed anew at the end; 0 for none.

    Raises:
        UserError: an unknown optimizer or schedule.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    distillation: float = 0.0
    temperature: float = 4.0
    optimizer: str = "sgd"
    schedule: str = "onecycle"
    bn_reestimation: int = 0

    def __post_init__(self) -> None:
        """Refuse names that mean nothing."""
        for what, value, known in (
            ("optimizer", self.optimizer, ("sgd", "adam", "adamw")),
            ("learning-rate schedule", self.schedule, ("onecycle", "cosine", "constant")),
        ):
            if value not in known:
                raise UserError(f"unknown {what} {value!r}: use {', '.join(known)}")


@dataclass(frozen=True)
class Task:
    """What is pruned.

    Args:
        name: a short name, for titles and caches.
        model: builds the untrained model; called after seeding, so that its weights repeat.
        data: loads the data.
        example_input: one input batch of size 1, shape ``(1, ...)``.
        training: how the dense model is trained when no checkpoint is given.
        recovery: how a pruned model is fine-tuned.
        loss: ``loss(outputs, labels) -> scalar``.
        keep: names of layers that are never pruned. The output layer is found by itself.
        shared_steps: optimiser steps of the recovery that all candidates share (:mod:`autoprune.supernet`); if
            None it ends by itself.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], Splits]
    example_input: Tensor
    training: Recipe = Recipe(steps=500)
    recovery: Recipe = Recipe(steps=200, learning_rate=0.02, distillation=0.9)
    loss: Callable[[Tensor, Tensor], Tensor] = field(default=nn.functional.cross_entropy)
    keep: tuple[str, ...] = ()
    shared_steps: int | None = None

    def build(self, seed: int = 0) -> nn.Module:
        """Return the untrained model, the same for the same seed.

        Raises:
            UserError: it cannot be pruned (:func:`~autoprune.task.accepted.accepted`).
        """
        with streams.seeded(seed):
            return accepted(self.model())


def load_task(reference: str) -> Task:
    """Find a task: a built-in name, ``FILE.py[:ATTRIBUTE]`` or ``MODULE:ATTRIBUTE`` (unsaid, it is ``task``).

    Raises:
        UserError: nothing by that name, with the near matches; a file that cannot be imported; not a :class:`Task`.
    """
    place, _, attribute = reference.partition(":")
    if reference in TASKS:
        place, _, attribute = TASKS[reference].partition(":")
    elif not place.endswith(".py") and not attribute:
        near = difflib.get_close_matches(reference, TASKS, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the built-in tasks are {', '.join(TASKS)};"
        raise UserError(f"unknown task {reference!r}: {hint} a task of your own is FILE.py or MODULE:ATTRIBUTE")
    module = _import(place)
    task = getattr(module, attribute or "task", None)
    if not isinstance(task, Task):
        found = "is not an autoprune Task" if task is not None else "does not exist"
        raise UserError(
            f"task {reference!r}: {attribute or 'task'!r} in {place} {found}; define `task = autoprune.Task(...)`"
        )
    return task


def load_task_or_model(reference: str, shape: str) -> tuple[Task | nn.Module, Any]:
    """Find a task as :func:`load_task` does, or a bare model: ``MODULE:NAME`` or ``FILE.py:NAME`` of what builds it.

    Args:
        shape: of the example input of a bare model, such as ``1,3,224,224``.

    Returns:
        The task or the model, and an example input.

    Raises:
        UserError: neither is there, or the shape is not one.
    """
    place, _, attribute = reference.partition(":")
    if attribute and reference not in TASKS:
        found = getattr(_import(place), attribute, None)
        model = found() if callable(found) and not isinstance(found, nn.Module) else found
        if isinstance(model, nn.Module):
            try:
                sizes = [int(size) for size in shape.split(",")]
                example_input = torch.randn(sizes, generator=torch.Generator().manual_seed(0))
            except (ValueError, RuntimeError):
                raise UserError(f"--shape {shape!r} is not a shape: write it as 1,3,224,224") from None
            try:
                with torch.no_grad():
                    model.eval()(example_input)
            except Exception as error:
                why = " ".join(str(error).split())
                raise UserError(f"{reference} does not run on an input of the --shape {shape}: {why}") from None
            return model, example_input
    task = load_task(reference)
    return task, task.example_input


def _import(place: str) -> ModuleType:
    """Import a module by name, or a file by path; from its folder a file may import its neighbours, now or later."""
    try:
        if not place.endswith(".py"):
            _let_import_from(Path.cwd())
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise UserError(f"task file {place} does not exist (looked in {Path.cwd()})")
        return _import_file(path.resolve())
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"task {place} cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, whatever it is called: ``json.py`` must not pass for another ``json``."""
    name = f"task_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    _let_import_from(path.parent)
    before = sys.modules.get(name)
    sys.modules[name] = module  # where pickle looks for the classes that the file defines
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name)
        if before:
            sys.modules[name] = before
        raise
    return module


def _let_import_from(folder: Path) -> None:
    """Put a folder behind all others from which modules come: it adds some, and shadows none."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
