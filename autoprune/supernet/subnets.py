"""The smaller versions of a network: each keeps its units in the same order of importance, and runs really smaller."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from autoprune.prune.blocks import Block, drop
from autoprune.prune.criteria import Context, channel_order
from autoprune.prune.groups import Groups, removed_positions
from autoprune.prune.removal import cut
from autoprune.results.candidate import channels_kept
from autoprune.supernet.resizable import Resizable

LEVELS = tuple(i / 16 for i in range(16))
"""The sparsities that versions are made of."""

DROPPED = 0.2
"""The chance of each residual block to be missing from a random version (LayerDrop, Fan et al. 2020)."""


def constants() -> tuple[tuple[float, ...], float]:
    """Return what decides, beside the arguments, which versions there are and how often they are trained."""
    return LEVELS, DROPPED


Removal = Mapping[str, list[int]]
"""Indices of the units that a version lacks, by group name."""


class Subnet(NamedTuple):
    """What a version lacks: units of each group, and whole residual blocks."""

    removal: Removal
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Subnets:
    """Every version of a network that keeps the units of each group in one order of importance.

    Args:
        groups: the network's coupled groups, no block dropped.
        removals: the units that go from every group at each of :data:`LEVELS`, by level.
        blocks: residual blocks that a version may lack whole.
    """

    groups: Groups
    removals: Mapping[float, Removal]
    blocks: tuple[Block, ...] = ()

    @classmethod
    def ordered_by(
        cls,
        criterion: str,
        model: nn.Module,
        groups: Groups,
        context: Context | None = None,
        round_to: int = 8,
        blocks: tuple[Block, ...] = (),
    ) -> Subnets:
        """Ask ``criterion`` in what order the units of ``model`` go; a higher level removes a superset."""
        return cls.in_order(channel_order(model, groups, criterion, context), groups, round_to, blocks)

    @classmethod
    def in_order(
        cls, order: Mapping[str, list[int]], groups: Groups, round_to: int = 8, blocks: tuple[Block, ...] = ()
    ) -> Subnets:
        """Let the units of each group go in the given order, by group name, the first to go first."""
        return cls(groups, {level: lacking(order, groups, level, round_to) for level in LEVELS}, blocks)

    def smallest(self) -> Subnet:
        """Return the version at the highest level in all groups; it has all blocks."""
        return Subnet(self.removals[LEVELS[-1]])

    def random_uniform(self, rng: random.Random) -> Subnet:
        """Return a version with one random level in all groups; it has all blocks."""
        return Subnet(self.removals[rng.choice(LEVELS)])

    def random(self, rng: random.Random) -> Subnet:
        """Return a version with a random level for each group, and some blocks missing."""
        removal = {group.name: self.removals[rng.choice(LEVELS)].get(group.name, []) for group in self.groups}
        return Subnet(removal, tuple(block for block in self.blocks if rng.random() < DROPPED))

    def build(self, model: nn.Module, subnet: Subnet) -> nn.Module:
        """Return a copy of a version of ``model``, really smaller, in evaluation mode."""
        return drop(cut(model, removed_positions(self.groups, subnet.removal)), subnet.blocks)

    def run(
        self, model: nn.Module, subnet: Subnet, forward: Callable[[nn.Module], Any], within: Resizable | None = None
    ) -> Any:
        """Run a version of ``model``, really smaller, such that gradients reach the parameters of ``model``.

        Args:
            forward: runs the network that it is given on a batch, and returns its outputs.
            within: made of ``model``, where many versions of it are run.
        """
        gone = removed_positions(self.groups, subnet.removal)
        state: dict[str, Tensor] = {}
        tied: dict[int, Tensor] = {}
        for name, value in model.named_parameters(remove_duplicate=False):
            state[name] = tied.setdefault(id(value), _rest(name, value, gone))
        for name, buffer in model.named_buffers():
            rest = _rest(name, buffer, gone)
            state[name] = rest.clone() if rest is buffer else rest  # the version's statistics are not the model's
        return (within or Resizable(model)).run(state, subnet.blocks, model.training, forward)


def lacking(order: Mapping[str, list[int]], groups: Groups, sparsity: float, round_to: int) -> Removal:
    """Return the units that go at one sparsity, ascending, by the name of each group that loses any.

    Args:
        order: of each group's units, the first to go first.
        round_to: kept units are a multiple of this.
    """
    counts = {g.name: g.channels - channels_kept(g.channels, sparsity, round_to) for g in groups}
    return {name: sorted(order[name][:count]) for name, count in counts.items() if count}


def _rest(name: str, parameter: Tensor, gone: Mapping[tuple[str, int], Tensor]) -> Tensor:
    for dim in range(parameter.ndim):
        if (name, dim) in gone:
            parameter = parameter.index_select(dim, (~gone[name, dim]).nonzero().flatten().to(parameter.device))
    return parameter
