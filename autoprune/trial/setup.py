"""From an experiment's trial command to its task, data and dense model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from autoprune.base.device import resolve
from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.prune.allocation import METHODS
from autoprune.prune.blocks import find_blocks
from autoprune.prune.criteria import CRITERIA
from autoprune.prune.dense import Dense
from autoprune.prune.groups import Groups
from autoprune.prune.schedules import SCHEDULES, check_blocks, check_initial, get_schedule
from autoprune.results.candidate import BLOCK_PREFIX
from autoprune.results.limits import read_limits
from autoprune.results.measures import METRICS
from autoprune.results.settings import TrialCommand
from autoprune.search.space import DEFAULT_SCHEDULES, check_space
from autoprune.task.find import load_task
from autoprune.task.task import Splits, Task
from autoprune.train.optimization import check_precision
from autoprune.trial.recipe_search import search_recipe, with_best_recipe


def settings_task(settings: TrialCommand) -> Task:
    """Return the task with the settings' numbers of steps."""
    task = load_task(settings.task)
    if settings.recovery_steps:
        task = replace(task, recovery=replace(task.recovery, steps=settings.recovery_steps))
    if settings.supernet_steps:
        task = replace(task, supernet_steps=settings.supernet_steps)
    return in_precision(task, settings)


def in_precision(task: Task, settings: TrialCommand) -> Task:
    """Return the task with the settings' precision in its recipes, if they name one.

    Raises:
        UserError: the device cannot compute in it.
    """
    name = settings.precision
    if name is None:
        return task
    check_precision(name, resolve(settings.device))
    return replace(
        task, training=replace(task.training, precision=name), recovery=replace(task.recovery, precision=name)
    )


def check_objectives(task: Task, objectives: Sequence[str], constraints: Sequence[str] = ()) -> None:
    """Check that a search is judged by the task's metric and no other.

    Raises:
        UserError: an objective or a constraint is another metric.
    """
    limited = [limit.measure for limit in read_limits(constraints or (), task.metric)]
    strange = [name for name in (*objectives, *limited) if name in METRICS and name != task.metric.name]
    if strange:
        raise UserError(
            f"task {task.name} is judged by {task.metric.name}, not by {strange[0]}: name {task.metric.name} among the "
            f"objectives and constraints, or give the task metric={strange[0]!r}"
        )


def load_settings(settings: TrialCommand, task: Task | None = None) -> tuple[Task, Splits, Dense]:
    """Return the task, its data and its dense model (trained now if no trial or launcher did before).

    Where the settings say so, the task has the recovery recipe that came out best (searched for now, or before).

    Args:
        task: what :func:`settings_task` returned, if it was called before.

    Raises:
        UserError: an unknown task, a missing data set, a checkpoint that does not fit, a device that is not there.
    """
    device = resolve(settings.device)
    task = task or settings_task(settings)
    data = task.splits()
    trained = dense.load_or_train(
        task, data, settings.checkpoint, settings.seed, settings.initial, device, settings.width
    )
    if settings.recipe_trials:
        tried = search_recipe(task, data, trained, settings.recipe_trials, settings.seed, settings.round_to)
        task = with_best_recipe(task, tried)
    return task, data, trained


def default_schedules(task: Task) -> tuple[str, ...]:
    """Return the schedules of a task's search where its space names none: a training of its own allows no supernet."""
    return DEFAULT_SCHEDULES if task.fit is None else ("one_shot",)


def check_task_space(task: Task, model: nn.Module, groups: Groups, space: Any, knows_initial: bool = True) -> None:
    """Check a search space against a task's model and its groups.

    Residual blocks are looked for only if the space names any.

    Args:
        knows_initial: whether the weights before the dense model's training are known.

    Raises:
        UserError: see :func:`autoprune.search.space.check_space`; or a schedule needs weights that are not known.
    """
    names_blocks = isinstance(space, dict) and any(str(name).startswith(BLOCK_PREFIX) for name in space)
    blocks = find_blocks(model, task.example, task.keep) if names_blocks else ()
    group_names, block_names = [group.name for group in groups], [block.name for block in blocks]
    kinds = sorted({group.kind for group in groups})
    check_space(space, group_names, CRITERIA, SCHEDULES, block_names, METHODS, kinds)
    for name in space["schedule"]["_value"] if "schedule" in space else ():
        if task.fit is not None and get_schedule(name).retrain == "supernet":
            raise UserError(
                f"schedule {name} trains one network for all candidates, step by step, but task {task.name} has its "
                "own fit: use one_shot or another schedule"
            )
        if names_blocks:
            check_blocks(name)
        if not knows_initial:
            check_initial(name)
