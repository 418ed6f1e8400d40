"""Search spaces in NNI's format: built from a model's coupled groups, written with comments, read back and checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from autoprune.candidate import BLOCK_PREFIX, PREFIX, channels_kept
from autoprune.errors import UserError

Space = dict[str, dict[str, Any]]
"""Parameter name -> ``{"_type": ..., "_value": [...]}``, as NNI reads it."""


class GroupLike(Protocol):
    """What a space needs to know of a coupled group (see :class:`autoprune.pruning.groups.Group`)."""

    name: str
    channels: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    params: int
    macs: int


class BlockLike(Protocol):
    """What a space needs to know of a residual block (see :class:`autoprune.pruning.blocks.Block`)."""

    name: str
    params: int
    macs: int


HEADER = """\
# Search space of the task {task}, in NNI's format. Written by `autoprune space {task}`; edit it as you like.
#
# {prefix}GROUP is the fraction of channels to remove from a coupled group: layers that share their channels and
# lose them together. _value is [lowest, highest, step]; kept channels are rounded to a multiple of 8.
# Take a line out and that group stays whole. Other _types: choice, uniform.
#
# The schedule shared judges each candidate on weights that one training has made good for all of them, once for each
# criterion. With one_shot, gradual, lottery_ticket and others each candidate is trained alone: docs/schedules.md.

"""


DEFAULT_CRITERIA, DEFAULT_SCHEDULES = ("l1_norm",), ("shared",)
"""What a space searches over unless it is told."""


def build_space(
    groups: Iterable[GroupLike],
    criteria: Iterable[str] = DEFAULT_CRITERIA,
    schedules: Iterable[str] = DEFAULT_SCHEDULES,
    blocks: Iterable[BlockLike] = (),
) -> Space:
    """Return the default space: a criterion, a schedule, one sparsity for each group, in or out for each block."""
    space: Space = {
        "criterion": {"_type": "choice", "_value": list(criteria)},
        "schedule": {"_type": "choice", "_value": list(schedules)},
    }
    for group in groups:
        step = max(8 / group.channels if group.channels >= 16 else max(0.125, 1 / group.channels), 1 / 16)
        values = [i * step for i in range(math.ceil(1 / step - 1e-9))]
        least = channels_kept(group.channels, values[-1])
        highest = next(value for value in values if channels_kept(group.channels, value) == least)
        space[PREFIX + group.name] = {"_type": "quniform", "_value": [0.0, round(highest, 6), round(step, 6)]}
    return space | {BLOCK_PREFIX + block.name: {"_type": "choice", "_value": [0, 1]} for block in blocks}


def space_to_yaml(
    space: Space, task: str, groups: Iterable[GroupLike], totals: Mapping[str, float], blocks: Iterable[BlockLike] = ()
) -> str:
    """Return ``space`` as YAML, each group and each block explained in a comment.

    Args:
        totals: the dense model's ``params`` and ``macs``.
    """
    text = HEADER.format(task=task, prefix=PREFIX)
    about = {
        PREFIX + group.name: (
            f"{group.channels} channels of {', '.join(group.producers)}, read by {', '.join(group.consumers)}",
            group,
        )
        for group in groups
    } | {BLOCK_PREFIX + block.name: ("1 drops this residual block", block) for block in blocks}
    for name, entry in space.items():
        if name in about:
            what, part = about[name]
            params, macs = part.params / totals["params"], part.macs / totals["macs"]
            text += f"\n# {what}: {params:.0%} of the parameters, {macs:.0%} of the MACs\n"
        value = yaml.safe_dump(entry["_value"], default_flow_style=True, width=1000).strip()
        text += f"{name}: {{_type: {entry['_type']}, _value: {value}}}\n"
    return text


def load_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        UserError: the file is missing or is not YAML, with line and column.
    """
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: {where}not valid YAML: {getattr(error, 'problem', None) or error}") from None


def check_space(
    space: Any,
    groups: Iterable[str],
    criteria: Iterable[str],
    schedules: Iterable[str],
    blocks: Iterable[str] = (),
    allocations: Iterable[str] = (),
) -> None:
    """Check a search space against a model and the registries.

    Raises:
        UserError: an unknown parameter, group, block, criterion, schedule or allocation (with the near matches), a
            malformed entry, a sparsity outside [0, 1), or a block's value that is not 0 or 1.
    """
    groups, blocks = list(groups), list(blocks)
    if not isinstance(space, dict) or not space:
        raise UserError("the search space is empty: write one with `autoprune space TASK`")
    known = {"criterion": list(criteria), "schedule": list(schedules), "allocation": list(allocations)}
    for name, entry in space.items():
        if not (isinstance(entry, dict) and {"_type", "_value"} <= set(entry) and isinstance(entry["_value"], list)):
            raise UserError(f"search space: {name} must be {{_type: ..., _value: [...]}}")
        if name in known:
            if entry["_type"] != "choice":
                raise UserError(f"search space: {name} must have _type choice")
            for value in entry["_value"]:
                _known(value, known[name], f"search space: unknown {name}")
        elif str(name).startswith(PREFIX):
            _known(name.removeprefix(PREFIX), groups, "search space: the model has no group")
            _check_sparsities(name, entry)
        elif str(name).startswith(BLOCK_PREFIX):
            _known(name.removeprefix(BLOCK_PREFIX), blocks, "search space: the model has no residual block")
            if entry["_type"] != "choice" or any(isinstance(v, bool) or v not in (0, 1) for v in entry["_value"]):
                raise UserError(f"search space: {name} must be {{_type: choice, _value: [0, 1]}}")
        elif name == "sparsity":
            _check_sparsities(name, entry)
        else:
            raise UserError(
                f"search space: unknown parameter {name!r}: use criterion, schedule, sparsity, allocation, "
                f"{PREFIX}GROUP, {BLOCK_PREFIX}NAME"
            )


def _check_sparsities(name: str, entry: dict[str, Any]) -> None:
    values = entry["_value"] if entry["_type"] == "choice" else entry["_value"][:2]
    if entry["_type"] not in ("choice", "uniform", "quniform", "loguniform", "qloguniform"):
        raise UserError(f"search space: {name} has the _type {entry['_type']!r}: use quniform, uniform or choice")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UserError(f"search space: {name} reaches {value!r}: a sparsity must lie in [0, 1)")


def _known(value: Any, names: list[str], what: str) -> None:
    if value not in names:
        near = difflib.get_close_matches(str(value), names) or names or ["none"]
        raise UserError(f"{what} {value!r}: {'it has' if 'the model' in what else 'use'} {', '.join(near)}")
