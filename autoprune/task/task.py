"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.data import Dataset

from autoprune.base import streams
from autoprune.task.accepted import accepted
from autoprune.task.recipe import Recipe


class Splits(NamedTuple):
    """The three splits of a data set, each a map-style dataset of ``(input, label)`` pairs.

    The search sees ``train`` and ``validation`` only; ``test`` is for the figures reported at the end.
    A ``TensorDataset`` is read in whole batches and is much the fastest.
    """

    train: Dataset
    validation: Dataset
    test: Dataset


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
        supernet_steps: optimiser steps of the training that all candidates share (:mod:`autoprune.supernet`); if
            None it ends by itself.
        shared_steps: its former name.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], Splits]
    example_input: Tensor
    training: Recipe = Recipe(steps=500)
    recovery: Recipe = Recipe(steps=200, learning_rate=0.02, distillation=0.9)
    loss: Callable[[Tensor, Tensor], Tensor] = field(default=nn.functional.cross_entropy)
    keep: tuple[str, ...] = ()
    supernet_steps: int | None = None
    shared_steps: InitVar[int | None] = None

    def __post_init__(self, shared_steps: int | None) -> None:
        """Take what is given by a former name."""
        if shared_steps is not None:
            object.__setattr__(self, "supernet_steps", shared_steps)

    def build(self, seed: int = 0) -> nn.Module:
        """Return the untrained model, the same for the same seed.

        Raises:
            UserError: it cannot be pruned (:func:`~autoprune.task.accepted.accepted`).
        """
        with streams.seeded(seed):
            return accepted(self.model())


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
