"""One point of the search space: what a tuner proposes and a trial carries out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoprune.errors import UserError

PREFIX = "sparsity."
"""A parameter named ``sparsity.GROUP`` is the sparsity of that coupled group; a bare ``sparsity`` is every group's."""

BLOCK_PREFIX = "block."
"""A parameter named ``block.NAME`` says whether that residual block is dropped: 1, or 0."""

TIE = "all:"
"""``sparsity.all:KIND`` is the one sparsity of all groups of a kind, less those that have one of their own."""

KINDS = {
    "channels": "channels of convolutions",
    "mlp": "units of linear layers",
    "heads": "attention heads, with grouped queries their key-value groups",
    "width": "the residual stream under norms: only where asked for, and inexact",
}
"""Kinds of groups -> what their channels are."""

WIDTH = "width:"
"""How the name of a group begins whose channels lie under a norm: removing some changes the function."""

FORMER_SCHEDULES = {"shared": "supernet"}
"""Names that schedules had in earlier versions, and those that they have now."""


def schedule_of(parameters: Mapping[str, Any]) -> str:
    """Return the present name of the schedule that parameters name, or of the one that they leave unnamed."""
    name = parameters.get("schedule", Candidate.schedule)
    return FORMER_SCHEDULES.get(name, name) if isinstance(name, str) else name


def renamed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the present name of their schedule, if they name one."""
    return {**parameters, "schedule": schedule_of(parameters)} if "schedule" in parameters else dict(parameters)


@dataclass(frozen=True)
class Candidate:
    """A pruning decision: how much of each coupled group to remove, by which criterion, on which schedule.

    Args:
        sparsity: fraction of channels (structured) or weights (unstructured) to remove, in [0, 1), by group name, or
            by the name of a tie: :data:`TIE` and a kind of groups.
        uniform: the sparsity of every group that ``sparsity`` does not name, but for those that are inexact.
        criterion: a name in :data:`autoprune.prune.criteria.CRITERIA`.
        schedule: a name in :data:`autoprune.prune.schedules.SCHEDULES`; a former name becomes the present one.
        baseline: the baseline this point belongs to, or None for a point that the tuner proposed.
        blocks: residual blocks to drop whole, by name: 1 for those that go, 0 for those that stay.
        allocation: a name in :data:`autoprune.prune.allocation.METHODS`: then ``uniform`` is the fraction of the
            model's parameters to remove in all, and the method spreads it over the groups.
        budget: what a rung of a multi-fidelity search allows, as a multiple of the schedule's training steps. None is
            all of them, and for the schedule ``supernet`` none: its recovery is over already.
        parent: the :attr:`id` of a candidate that was carried out before and keeps all that this one keeps: this one
            is cut from its recovered network (Yang et al. 2018, NetAdapt), and not from the dense one.

    Raises:
        UserError: a sparsity lies outside [0, 1), a budget is negative, a block's value is not 0 or 1, or an
            allocation meets sparsities of single groups.
    """

    sparsity: Mapping[str, float] = field(default_factory=dict)
    uniform: float = 0.0
    criterion: str = "l1_norm"
    schedule: str = "one_shot"
    baseline: str | None = None
    blocks: Mapping[str, int] = field(default_factory=dict)
    allocation: str | None = None
    budget: float | None = None
    parent: str | None = None

    def __post_init__(self) -> None:
        """Refuse sparsities outside [0, 1) and blocks neither in nor out; take the schedule's present name."""
        object.__setattr__(self, "schedule", schedule_of({"schedule": self.schedule}))
        for name, value in [*self.sparsity.items(), ("every group", self.uniform)]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise UserError(f"sparsity of {name} is {value!r}: it must be a number in [0, 1)")
        for name, value in self.blocks.items():
            if isinstance(value, bool) or value not in (0, 1):
                raise UserError(f"block {name} is {value!r}: it must be 1 (dropped) or 0")
        if self.budget is not None and not (isinstance(self.budget, int | float) and 0 <= self.budget < math.inf):
            raise UserError(f"budget is {self.budget!r}: it must be a number from 0 on")
        if self.parent is not None and not isinstance(self.parent, str):
            raise UserError(f"parent is {self.parent!r}: it must be the eight hex digits of a candidate")
        if self.allocation and self.sparsity:
            raise UserError(f"allocation {self.allocation} spreads the one number `sparsity`: take {PREFIX}GROUP out")

    def of(self, group: str) -> float:
        """Return the sparsity that this candidate asks of the group named ``group``."""
        return float(self.sparsity.get(group, 0.0 if group.startswith(WIDTH) else self.uniform))

    def spread(self, kinds: Mapping[str, str]) -> Candidate:
        """Return the same candidate with a sparsity for each group in place of those that are tied.

        Args:
            kinds: of the network's groups, by name.

        Raises:
            UserError: the network has no group of a kind that is tied.
        """
        return replace(self, sparsity=spread_ties(self.sparsity, kinds)) if self.ties else self

    @property
    def ties(self) -> tuple[str, ...]:
        """The kinds of groups that have one sparsity together."""
        return tuple(name.removeprefix(TIE) for name in self.sparsity if name.startswith(TIE))

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the blocks that go."""
        return tuple(sorted(name for name, value in self.blocks.items() if value))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Candidate:
        """Read the flat parameters that NNI carries (the inverse of :meth:`to_parameters`)."""
        fields: dict[str, Any] = {"sparsity": {}, "blocks": {}}
        for key, value in parameters.items():
            if key.startswith(PREFIX):
                fields["sparsity"][key.removeprefix(PREFIX)] = value
            elif key.startswith(BLOCK_PREFIX):
                fields["blocks"][key.removeprefix(BLOCK_PREFIX)] = value
            elif key == "sparsity":
                fields["uniform"] = value
            elif key in ("criterion", "schedule", "baseline", "allocation", "budget", "parent"):
                fields[key] = value
            else:
                raise UserError(
                    f"unknown parameter {key!r}: use criterion, schedule, sparsity, allocation, budget, parent, "
                    f"{PREFIX}GROUP for one group, or {BLOCK_PREFIX}NAME for a whole block"
                )
        return cls(**fields)

    def to_parameters(self) -> dict[str, Any]:
        """Return flat parameters (no nested objects: NNI's web UI shows those as ``[object Object]``)."""
        parameters: dict[str, Any] = {"baseline": self.baseline} if self.baseline else {}
        parameters |= {"criterion": self.criterion, "schedule": self.schedule}
        if self.allocation:
            parameters["allocation"] = self.allocation
        if self.budget is not None:
            parameters["budget"] = self.budget
        if self.parent is not None:
            parameters["parent"] = self.parent
        if self.uniform:
            parameters["sparsity"] = self.uniform
        parameters |= {PREFIX + group: value for group, value in sorted(self.sparsity.items())}
        return parameters | {BLOCK_PREFIX + name: value for name, value in sorted(self.blocks.items())}

    @property
    def id(self) -> str:
        """Eight hex digits that name this candidate by its content."""
        return hashlib.sha256(json.dumps(self.to_parameters(), sort_keys=True).encode()).hexdigest()[:8]


def spread_ties(sparsity: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """Return a sparsity for each group that has one, of its own or by a tie.

    Args:
        sparsity: by the names of groups and ties.
        kinds: of all groups, by name.

    Raises:
        UserError: there is no group of a kind that is tied.
    """
    own = {name: value for name, value in sparsity.items() if not name.startswith(TIE)}
    tied: dict[str, float] = {}
    for name in sparsity.keys() - own.keys():
        members = [group for group, kind in kinds.items() if TIE + kind == name]
        if not members:
            known = ", ".join(sorted(set(kinds.values()))) or "none"
            raise UserError(f"{PREFIX}{name} ties groups of a kind that the network has not: it has {known}")
        tied |= dict.fromkeys(members, sparsity[name])
    return tied | own


def channels_kept(channels: int, sparsity: float, round_to: int = 8) -> int:
    """Return how many of ``channels`` to keep at ``sparsity``: at least one, and a multiple of ``round_to``.

    A group of fewer than ``2 * round_to`` channels is not rounded: too little would be left to choose from. Channel
    counts off the vector width can make a pruned network slower than the dense one.
    """
    kept = channels * (1 - sparsity)
    if sparsity and round_to > 1 and channels >= 2 * round_to:
        kept = max(round_to, round_to * round(kept / round_to))
    return min(channels, max(1, round(kept)))
