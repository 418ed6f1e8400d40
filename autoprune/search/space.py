"""Search spaces in NNI's format: built from a model's coupled groups, written with comments, read back and checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import yaml

from autoprune.errors import UserError, short
from autoprune.results.candidate import BLOCK_PREFIX, KINDS, PREFIX, TIE, Candidate, channels_kept
from autoprune.search.entries import check_block, check_entry, check_sparsities

Space = dict[str, dict[str, Any]]
"""Parameter name -> ``{"_type": ..., "_value": [...]}``, as NNI reads it."""


class GroupLike(Protocol):
    """What a space needs to know of a coupled group (see :class:`autoprune.prune.groups.Group`)."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def channels(self) -> int:
        """How many channels it has."""

    @property
    def kind(self) -> str:
        """A name in :data:`autoprune.results.candidate.KINDS`."""

    @property
    def producers(self) -> tuple[str, ...]:
        """The layers that make them."""

    @property
    def consumers(self) -> tuple[str, ...]:
        """The layers that read them."""

    @property
    def params(self) -> int:
        """The parameters that go with all of them."""

    @property
    def macs(self) -> int:
        """The MACs that go with all of them."""


class BlockLike(Protocol):
    """What a space needs to know of a residual block (see :class:`autoprune.prune.blocks.Block`)."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def params(self) -> int:
        """Its parameters."""

    @property
    def macs(self) -> int:
        """Its MACs."""


HEADER = """\
# Search space of the task {task}, in NNI's format. Written by `autoprune space {task}`; edit it as you like.
#
# {prefix}GROUP is the fraction of channels to remove from a coupled group: layers that share their channels and
# lose them together. _value is [lowest, highest, step]; kept channels are rounded to a multiple of 8.
# Take a line out and that group stays whole. Other _types: choice, uniform. {prefix}{tie}KIND is one fraction for all
# groups of a kind, which a configuration file can express; a group with a line of its own does not follow it.
#
# The schedule supernet judges each candidate on weights that one training has made good for all of them, once for each
# criterion. With one_shot, gradual, lottery_ticket and others each candidate is trained alone: docs/schedules.md.

"""


DEFAULT_CRITERIA, DEFAULT_SCHEDULES = ("l1_norm",), ("supernet",)
"""What a space searches over unless it is told."""


def build_space(
    groups: Iterable[GroupLike],
    criteria: Iterable[str] = DEFAULT_CRITERIA,
    schedules: Iterable[str] = DEFAULT_SCHEDULES,
    blocks: Iterable[BlockLike] = (),
    tie: Sequence[str] = (),
) -> Space:
    """Return the default space: a criterion, a schedule, one sparsity for each group, in or out for each block.

    Args:
        tie: kinds of groups that have one sparsity together, as a configuration file can express it.

    Raises:
        UserError: there is no group of such a kind.
    """
    groups = list(groups)
    for kind in tie:
        _known(kind, sorted({group.kind for group in groups}), "the model has no groups to tie that are called")
    space: Space = {
        "criterion": {"_type": "choice", "_value": list(criteria)},
        "schedule": {"_type": "choice", "_value": list(schedules)},
    }
    for group in groups:
        if not tie or group.kind not in tie:
            space[PREFIX + group.name] = _sparsities(group.channels)
    for kind in tie:
        space[PREFIX + TIE + kind] = _sparsities(max(group.channels for group in groups if group.kind == kind))
    return space | {BLOCK_PREFIX + block.name: {"_type": "choice", "_value": [0, 1]} for block in blocks}


def _sparsities(channels: int) -> dict[str, Any]:
    """Return the entry of a group of so many channels."""
    step = max(8 / channels if channels >= 16 else max(0.125, 1 / channels), 1 / 16)
    values = [i * step for i in range(math.ceil(1 / step - 1e-9))]
    least = channels_kept(channels, values[-1])
    highest = next(value for value in values if channels_kept(channels, value) == least)
    return {"_type": "quniform", "_value": [0.0, round(highest, 6), round(step, 6)]}


def space_to_yaml(
    space: Space, task: str, groups: Iterable[GroupLike], totals: Mapping[str, float], blocks: Iterable[BlockLike] = ()
) -> str:
    """Return ``space`` as YAML, each group and each block explained in a comment.

    Args:
        totals: the dense model's ``params`` and ``macs``.
    """
    text = HEADER.format(task=task, prefix=PREFIX, tie=TIE)
    groups = list(groups)
    about: dict[str, tuple[str, Sequence[GroupLike | BlockLike]]] = {
        PREFIX + group.name: (
            f"{group.channels} channels of {', '.join(group.producers)}, read by {', '.join(group.consumers)}",
            [group],
        )
        for group in groups
    } | {BLOCK_PREFIX + block.name: ("1 drops this residual block", [block]) for block in blocks}
    for kind in KINDS:
        tied = [group for group in groups if group.kind == kind and PREFIX + group.name not in space]
        about[PREFIX + TIE + kind] = (f"{KINDS[kind]}: one sparsity for {len(tied)} groups", tied)
    for name, entry in space.items():
        if name in about:
            what, parts = about[name]
            params = sum(part.params for part in parts) / totals["params"]
            macs = sum(part.macs for part in parts) / totals["macs"]
            text += f"\n# {what}: {params:.0%} of the parameters, {macs:.0%} of the MACs\n"
        value = yaml.safe_dump(entry["_value"], default_flow_style=True, width=1000).strip()
        text += f"{name}: {{_type: {entry['_type']}, _value: {value}}}\n"
    return text


def check_space(
    space: Any,
    groups: Iterable[str],
    criteria: Iterable[str],
    schedules: Iterable[str],
    blocks: Iterable[str] = (),
    allocations: Iterable[str] = (),
    kinds: Iterable[str] = (),
) -> None:
    """Check a search space against a model and the registries.

    Args:
        kinds: of the model's groups, which may be tied.

    Raises:
        UserError: an unknown parameter, group, kind of groups, block, criterion, schedule or allocation (with the near
            matches), a malformed entry, a sparsity outside [0, 1), a block's value that is not 0 or 1, or parts that
            do not go together.
    """
    groups, blocks = list(groups), list(blocks)
    if not isinstance(space, dict) or not space:
        raise UserError("the search space is empty: write one with `autoprune space TASK`")
    known = {"criterion": list(criteria), "schedule": list(schedules), "allocation": list(allocations)}
    for name, entry in space.items():
        label = f"search space: {short(name)[1:-1]}" if isinstance(name, str) else f"search space: {short(name)}"
        if name in known:
            check_entry(label, entry, ("choice",))
            for value in entry["_value"]:
                _known(value, known[name], f"search space: unknown {name}")
        elif str(name).startswith(PREFIX + TIE):
            _known(name.removeprefix(PREFIX + TIE), list(kinds), "search space: the model has no groups to tie called")
            check_sparsities(label, entry)
        elif str(name).startswith(PREFIX):
            _known(name.removeprefix(PREFIX), groups, "search space: the model has no group")
            check_sparsities(label, entry)
        elif str(name).startswith(BLOCK_PREFIX):
            _known(name.removeprefix(BLOCK_PREFIX), blocks, "search space: the model has no residual block")
            check_block(label, entry)
        elif name == "sparsity":
            check_sparsities(label, entry)
        else:
            near = difflib.get_close_matches(str(name), [*known, "sparsity", *(PREFIX + each for each in groups)], 1)
            raise UserError(
                f"search space: unknown parameter {short(name)}: "
                + (f"did you mean {near[0]}, or one of " if near else "use ")
                + f"criterion, schedule, sparsity, allocation, {PREFIX}GROUP, {BLOCK_PREFIX}NAME"
            )
    Candidate.from_parameters({name: entry["_value"][0] for name, entry in space.items()})
    if "allocation" in space and "sparsity" not in space:
        raise UserError("search space: allocation spreads the one number `sparsity`: add it")


def _known(value: Any, names: list[str], what: str) -> None:
    if not isinstance(value, str) or value not in names:
        near = difflib.get_close_matches(value, names) if isinstance(value, str) else []
        has = "it has" if "the model" in what else "use"
        raise UserError(f"{what} {short(value)}: {has} {', '.join(near or names or ['none'])}")
