"""Finding a task by name, module or file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from autoprune.errors import UserError
from autoprune.task.adapters.timm import from_timm, own_shape, timm_model
from autoprune.task.builtin import TASKS
from autoprune.task.task import Task, _import_file, _let_import_from


def load_task(reference: str) -> Task:
    """Find a task: a name in :data:`TASKS`, ``FILE.py[:ATTRIBUTE]`` or ``MODULE:ATTRIBUTE`` (``task`` by default).

    ``timm:MODEL:FOLDER`` is a model of timm on a folder of images (:func:`autoprune.from_timm`).

    Raises:
        UserError: nothing by that name, with the near matches; a file that cannot be imported; not a :class:`Task`.
    """
    place, _, attribute = reference.partition(":")
    if reference in TASKS:
        return _checked(reference, TASKS[reference], "what its entry point names")
    if place == "timm":
        model, _, folder = attribute.partition(":")
        if not folder:
            raise UserError(f"{reference} is a model without data: name a folder of images, as timm:{model}:FOLDER")
        return from_timm(model, folder)
    if not place.endswith(".py") and not attribute:
        near = difflib.get_close_matches(reference, TASKS, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the built-in tasks are {', '.join(TASKS)};"
        raise UserError(f"unknown task {reference!r}: {hint} a task of your own is FILE.py or MODULE:ATTRIBUTE")
    return _checked(
        reference, getattr(_import(place), attribute or "task", None), f"{attribute or 'task'!r} in {place}"
    )


def _checked(reference: str, found: Any, place: str) -> Task:
    if not isinstance(found, Task):
        what = "is not an autoprune Task" if found is not None else "does not exist"
        raise UserError(f"task {reference!r}: {place} {what}; define `task = autoprune.Task(...)`")
    return found


def load_task_or_model(reference: str, shape: str | None = None) -> tuple[Task | nn.Module, Any]:
    """Find a task as :func:`load_task` does, or a bare model: ``MODULE:NAME`` or ``FILE.py:NAME`` of what builds it.

    ``timm:MODEL`` is a model of timm.

    Args:
        shape: of the example input of a bare model, ``1,3,224,224`` by default; timm's models know their own.

    Returns:
        The task or the model, and an example input.

    Raises:
        UserError: neither is there, or the shape is not one.
    """
    place, _, attribute = reference.partition(":")
    of_timm = place == "timm" and ":" not in attribute
    if attribute and reference not in TASKS and (of_timm or place != "timm"):
        found = timm_model(attribute) if of_timm else getattr(_import(place), attribute, None)
        model = found() if callable(found) and not isinstance(found, nn.Module) else found
        if isinstance(model, nn.Module):
            shape = shape or (own_shape(model) if of_timm else "1,3,224,224")
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
    return task, task.example


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
        hint = ""
        if "attempted relative import" in str(error) and not Path(place).is_absolute():
            hint = f": it belongs to a package, name it {'.'.join(Path(place).with_suffix('').parts)}:NAME"
        raise UserError(f"task {place} cannot be imported: {type(error).__name__}: {error}{hint}") from error
