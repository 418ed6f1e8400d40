"""A search from Python that is given a time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from autoprune.errors import UserError
from autoprune.prune.groups import Groups
from autoprune.results.settings import TrialCommand
from autoprune.task.task import Splits, Task
from autoprune.trial.estimate import time_steps
from autoprune.trial.plan import Plan, plan


def planned_for(
    settings: TrialCommand, task: Task, data: Splits, groups: Groups, space: Mapping[str, Any], seconds: float
) -> Plan:
    """Return what a search does with so many seconds.

    Raises:
        UserError: they are too few, or nobody can say how long the task's training takes.
    """
    costs = time_steps(settings, task, data, groups, space, settings.device)
    if costs is None:
        raise UserError("budget: the task has a fit of its own, and nobody can say how long it takes")
    return plan(costs, seconds, with_front=False)


def until(end: float) -> Iterator[int]:
    """Count as long as there is time."""
    return itertools.takewhile(lambda _number: time.monotonic() < end, itertools.count())
