"""What is pruned: a model, its data and how it is trained; and finding a task by name, module or file."""

from autoprune.task.task import Recipe, Splits, Task, load_task, load_task_or_model

__all__ = ["Recipe", "Splits", "Task", "load_task", "load_task_or_model"]
