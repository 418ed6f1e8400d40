"""How much a task minds losing each of its groups."""

from __future__ import annotations

from autoprune import dense, training
from autoprune.pruning.show import sensitivities
from autoprune.task import Task


def task_sensitivities(task: Task, share: float = 0.5) -> dict[str, float]:
    """Return the validation accuracy that a task's dense model loses without ``share`` of each group, by group name.

    Each group is pruned alone, and nothing is fine-tuned.
    """
    data = task.data()
    trained = dense.prepare(task, data)

    def score(model) -> float:
        return training.accuracy(model, data.validation)

    return sensitivities(trained.model, task.example_input, trained.groups, score, share)
