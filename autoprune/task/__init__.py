"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from typing import TYPE_CHECKING

__all__ = ["Recipe", "Splits", "Task", "load_task", "load_task_or_model"]

if TYPE_CHECKING:
    from autoprune.task.find import load_task, load_task_or_model
    from autoprune.task.recipe import Recipe
    from autoprune.task.task import Splits, Task

_HOMES = {"load_task": "find", "load_task_or_model": "find", "Recipe": "recipe", "Splits": "task", "Task": "task"}


def __getattr__(name: str):
    """Import on first use, so that the names of the built-in tasks are known without PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
