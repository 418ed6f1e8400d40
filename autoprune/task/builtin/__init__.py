"""Tasks by name. A new one is a file and a line in :data:`TASKS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoprune.base.registry import Registry

if TYPE_CHECKING:
    from autoprune.task.task import Task

TASKS: Registry[Task] = Registry(
    "task",
    {
        "digits": "autoprune.task.builtin.digits:task",
        "fashion_mnist": "autoprune.task.builtin.fashion_mnist:lenet5",
        "fashion_mnist_resnet20": "autoprune.task.builtin.fashion_mnist:resnet20",
        "imdb": "autoprune.task.builtin.imdb:task",
        "digits-segmentation": "autoprune.task.builtin.digits_segmentation:task",
        "digits-detection": "autoprune.task.builtin.digits_detection:task",
        "diabetes": "autoprune.task.builtin.diabetes:task",
        "imdb-gpt": "autoprune.task.builtin.imdb_gpt:task",
    },
    "autoprune.tasks",
)
