"""From an experiment's trial command to its task, data and dense model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from autoprune.prune import dense
from autoprune.prune.allocation import METHODS
from autoprune.prune.blocks import find_blocks
from autoprune.prune.criteria import CRITERIA
from autoprune.prune.dense import Dense
from autoprune.prune.groups import Groups
from autoprune.prune.schedules import SCHEDULES, check_blocks, check_initial
from autoprune.results.candidate import BLOCK_PREFIX
from autoprune.results.settings import TrialCommand
from autoprune.search.space import check_space
from autoprune.task.find import load_task
from autoprune.task.task import Splits, Task
from autoprune.trial.recipe_search import search_recipe, with_best_recipe


def settings_task(settings: TrialCommand) -> Task:
    """Return the task with the settings' numbers of steps."""
    task = load_task(settings.task)
    if settings.recovery_steps:
        task = replace(task, recovery=replace(task.recovery, steps=settings.recovery_steps))
    if settings.shared_steps:
        task = replace(task, shared_steps=settings.shared_steps)
    return task


def load_settings(settings: TrialCommand) -> tuple[Task, Splits, Dense]:
    """Return the task, its data and its dense model (trained now if no trial or launcher did before).

    Where the settings say so, the task has the recovery recipe that came out best (searched for now, or before).

    Raises:
        UserError: an unknown task, a missing data set, a checkpoint that does not fit.
    """
    task = settings_task(settings)
    data = task.splits()
    trained = dense.prepare(task, data, settings.checkpoint, settings.seed, settings.initial)
    if settings.recipe_trials:
        tried = search_recipe(task, data, trained, settings.recipe_trials, settings.seed, settings.round_to)
        task = with_best_recipe(task, tried)
    return task, data, trained


def check_task_space(task: Task, model: nn.Module, groups: Groups, space: Any, knows_initial: bool = True) -> None:
    """Check a search space against a task's model and its groups.

    Residual blocks are looked for only if the space names any.

    Args:
        knows_initial: whether the weights before the dense model's training are known.

    Raises:
        UserError: see :func:`autoprune.search.space.check_space`; or a schedule needs weights that are not known.
    """
    names_blocks = isinstance(space, dict) and any(str(name).startswith(BLOCK_PREFIX) for name in space)
    blocks = find_blocks(model, task.example_input, task.keep) if names_blocks else ()
    group_names, block_names = [group.name for group in groups], [block.name for block in blocks]
    check_space(space, group_names, CRITERIA, SCHEDULES, block_names, METHODS)
    for name in space["schedule"]["_value"] if "schedule" in space else ():
        if names_blocks:
            check_blocks(name)
        if not knows_initial:
            check_initial(name)
