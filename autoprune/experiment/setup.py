"""From an experiment's trial command to its task, data and dense model."""

from __future__ import annotations

from dataclasses import replace

from autoprune import dense
from autoprune.dense import Dense
from autoprune.search.command import TrialCommand
from autoprune.task import Splits, Task, load_task


def settings_task(settings: TrialCommand) -> Task:
    """Return the task with the settings' recovery steps."""
    task = load_task(settings.task)
    if settings.recovery_steps:
        task = replace(task, recovery=replace(task.recovery, steps=settings.recovery_steps))
    return task


def load_settings(settings: TrialCommand) -> tuple[Task, Splits, Dense]:
    """Return the task, its data and its dense model (trained now if no trial or launcher did before).

    Raises:
        UserError: an unknown task, a missing data set, a checkpoint that does not fit.
    """
    task = settings_task(settings)
    data = task.data()
    return task, data, dense.prepare(task, data, settings.checkpoint, settings.seed)
