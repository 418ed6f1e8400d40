"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autoprune.base import streams
from autoprune.base.tree import as_inputs, call
from autoprune.errors import UserError
from autoprune.results.measures import METRIC, Measure, declare, find_metric
from autoprune.task.accepted import accepted
from autoprune.task.objective import default_distillation, default_loss, inputs_of
from autoprune.task.recipe import Recipe

Data = Dataset | DataLoader
"""A split: a data set, or a loader of its batches."""


class Splits(NamedTuple):
    """The three splits of a data set.

    Each is a map-style data set, a ``DataLoader`` with its own batches, or an iterable data set. The search sees
    ``train`` and ``validation`` only; ``test`` is for the figures reported at the end. A ``TensorDataset`` is read in
    whole batches and is much the fastest.
    """

    train: Data
    validation: Data
    test: Data


class _Metric:
    """A field that is given as a measure or the name of one, and read as a measure.

    Raises:
        UserError: no measure has that name.
    """

    def __get__(self, task: Task | None, kind: type[Task]) -> Measure:
        return METRIC if task is None else task.__dict__["metric"]

    def __set__(self, task: Task, metric: Measure | str) -> None:
        task.__dict__["metric"] = find_metric(metric) if isinstance(metric, str) else declare(metric)


@dataclass(frozen=True)
class Task:
    """What is pruned: a network, its data, how it is trained and what it is judged by.

    The smallest has a name, a model, an example and data of ``(input, label)`` pairs; it is a classifier then, trained
    by cross-entropy and judged by accuracy.

    Args:
        name: a short name, for titles and caches.
        model: builds the untrained model, called after seeding, so that its weights repeat; or a trained model, which
            is not trained again and stays as it is.
        data: loads the three splits; called when they are needed. Or give these themselves, below.
        example: one input of batch size 1: a tensor ``(1, ...)``, a tuple of positional arguments, or a
            dictionary of named ones.
        training: how the dense model is trained when no checkpoint is given.
        recovery: how a pruned model is fine-tuned.
        loss: ``loss(outputs, batch) -> scalar``. By default the model's own where its outputs have one, else the
            cross-entropy with the batch's labels (:func:`autoprune.task.objective.default_loss`).
        keep: names of layers that are never pruned. The output layer is found by itself.
        supernet_steps: optimiser steps of the training that all candidates share (:mod:`autoprune.supernet`); if
            None it ends by itself.
        shared_steps: the former name of ``supernet_steps``.
        train: the training split, if not from ``data``: a data set or a ``DataLoader``. A batch may be any tree of
            tensors.
        validation: the split that the search judges by.
        test: the split for the figures reported at the end.
        forward: ``forward(model, batch) -> outputs``; by default the model is called with as much of the batch as the
            example has (:func:`autoprune.task.objective.inputs_of`), or with all of a dictionary.
        distill: ``distill(outputs, teacher_outputs, batch) -> scalar``; by default by the kind of the outputs
            (:func:`autoprune.task.objective.default_distillation`).
        evaluate: ``evaluate(model, batches) -> {name: number}``, of which the metric's counts; a torchmetrics metric,
            which is given the main output and the labels; or None, where the metric is one of
            :mod:`autoprune.train.metrics`.
        metric: what networks are judged by: a name in :data:`autoprune.results.measures.METRICS`, or one of the task's
            own, ``autoprune.Metric("dice", form="percent")``.
        fit: ``fit(model, steps)`` trains the model in place for so many steps, instead of AutoPrune's own loop. There
            is no supernet then, which needs each step.

    Raises:
        UserError: splits that are missing, an unknown metric.
    """

    name: str
    model: Callable[[], nn.Module] | nn.Module
    data: Callable[[], Splits] | None = None
    example: Any = None
    training: Recipe = Recipe(steps=500)
    recovery: Recipe = Recipe(steps=200, learning_rate=0.02, distillation=0.9)
    loss: Callable[[Any, Any], Tensor] = default_loss
    keep: tuple[str, ...] = ()
    supernet_steps: int | None = None
    _: KW_ONLY
    shared_steps: InitVar[int | None] = None
    train: Data | None = None
    validation: Data | None = None
    test: Data | None = None
    forward: Callable[[nn.Module, Any], Any] | None = None
    distill: Callable[[Any, Any, Any], Tensor] | None = None
    evaluate: Callable[[nn.Module, Iterable[Any]], Mapping[str, float]] | None = None
    metric: _Metric = _Metric()
    fit: Callable[[nn.Module, int], None] | None = None

    def __post_init__(self, shared_steps: int | None) -> None:
        """Fill in what was said in another way."""
        if shared_steps is not None:
            object.__setattr__(self, "supernet_steps", shared_steps)
        if self.example is None:
            raise UserError(f"task {self.name}: give it an example: one input of batch size 1")
        missing = [name for name in Splits._fields if getattr(self, name) is None]
        if self.data is None and missing:
            raise UserError(f"task {self.name}: it has no {' and no '.join(missing)} split: give it all three, or data")

    @property
    def example_input(self) -> Any:
        """The example, as it was called before version 0.2."""
        return self.example

    @property
    def is_trained(self) -> bool:
        """Whether the model came with its weights."""
        return isinstance(self.model, nn.Module)

    @property
    def own_evaluation(self) -> Callable[[nn.Module, Iterable[Any]], Mapping[str, float]] | None:
        """What judges a model on batches by itself; None where outputs are added up, batch by batch."""
        return None if isinstance(self.evaluate, nn.Module) else self.evaluate

    def build(self, seed: int = 0) -> nn.Module:
        """Return the untrained model, the same for the same seed; of a trained one a copy.

        Raises:
            UserError: it cannot be pruned (:func:`~autoprune.task.accepted.accepted`).
        """
        if isinstance(self.model, nn.Module):
            return copy.deepcopy(accepted(self.model))
        with streams.seeded(seed):
            return accepted(self.model())

    def splits(self) -> Splits:
        """Return the three splits, loaded now if need be."""
        return Splits(*(getattr(self, name) for name in Splits._fields)) if self.data is None else self.data()

    def run(self, model: nn.Module, batch: Any) -> Any:
        """Return what a model, any version of the task's, computes of a batch."""
        if self.forward is not None:
            return self.forward(model, batch)
        if isinstance(batch, Mapping):
            return call(model, batch)
        return call(model, inputs_of(batch, self.example_input))

    def inputs(self, model: nn.Module, batch: Any) -> Any:
        """Return what a model is called with for a batch, in the form of the example input, without labels."""
        if self.forward is None:
            return inputs_of(batch, self.example_input)
        seen: list[Any] = []
        hook = model.register_forward_pre_hook(
            lambda _, positional, named: seen.append(as_inputs(positional, named)), with_kwargs=True
        )
        with hook:
            self.run(model, batch)
        return inputs_of(seen[0], self.example_input) if isinstance(seen[0], Mapping) else seen[0]

    def loss_of(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a model on a batch."""
        return self.loss(self.run(model, batch), batch)

    def distillation(self, outputs: Any, teacher: Any, batch: Any, temperature: float) -> Tensor | None:
        """Return how far outputs are from a teacher's; None where nobody can say."""
        if self.distill is not None:
            return self.distill(outputs, teacher, batch)
        return default_distillation(outputs, teacher, batch, temperature)


def _with_former_name(init: Callable[..., None]) -> Callable[..., None]:
    """Let a task take its example as ``example_input`` too, as before version 0.2."""

    @functools.wraps(init)
    def __init__(self: Task, *values: Any, **named: Any) -> None:
        if "example_input" in named:
            named["example"] = named.pop("example_input")
        init(self, *values, **named)

    return __init__


Task.__init__ = _with_former_name(Task.__init__)  # type: ignore[method-assign]


def _import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, whatever it is called: ``json.py`` must not pass for another ``json``."""
    name = f"task_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
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
