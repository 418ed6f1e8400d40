"""A task's search space, from the coupled groups of its model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import nn

from autoprune.errors import UserError
from autoprune.measure import measure
from autoprune.prune.blocks import find_blocks
from autoprune.prune.find import find_groups
from autoprune.search.space import DEFAULT_SCHEDULES, Space, build_space, space_to_yaml
from autoprune.task.task import Task
from autoprune.trial.setup import default_schedules


class Written(NamedTuple):
    """A search space, and the same as the text of a file."""

    space: Space
    text: str
    groups: int
    blocks: int


def space_of(
    reference: str,
    found: Task | nn.Module,
    example: Any,
    with_blocks: bool = False,
    tie: Sequence[str] = (),
    width: bool = False,
) -> Written:
    """Return the search space of a task, or of a model that has none yet.

    Args:
        reference: what the user calls it.
        example: an input of batch size 1.
        with_blocks: whether whole residual blocks may be dropped as well.
        tie: kinds of groups that have one sparsity together.
        width: whether groups under a norm may lose channels, which changes the function.

    Raises:
        UserError: the model has no channels that can be removed, or none of a kind that is to be tied.
    """
    model = found.build() if isinstance(found, Task) else found
    keep: tuple[str, ...] = found.keep if isinstance(found, Task) else ()
    schedules: tuple[str, ...] = default_schedules(found) if isinstance(found, Task) else DEFAULT_SCHEDULES
    groups = find_groups(model, example, keep, allow_inexact=width)
    if not len(groups):
        raise UserError(
            f"task {reference}: its model has no channels that can be removed: see `autoprune groups {reference}`"
        )
    blocks: Iterable[Any] = find_blocks(model, example, keep) if with_blocks else ()
    space = build_space(groups, schedules=schedules, blocks=blocks, tie=tie)
    totals = measure.measure(model, example, with_latency=False)
    return Written(space, space_to_yaml(space, reference, groups, totals, blocks), len(groups), len(list(blocks)))
