"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from autoprune.task.find import load_task, load_task_or_model
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

__all__ = ["Recipe", "Splits", "Task", "load_task", "load_task_or_model"]
