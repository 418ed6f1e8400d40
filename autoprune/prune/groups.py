"""Coupled channel groups: which parts of which layers must lose the same channels, found by one run of the model.

Layers tied by a residual add share their channels, so they are pruned together or not at all (DepGraph, Fang et al.
2023). One sparsity per group makes every candidate realisable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Slice:
    """Where the units of one group lie in a parameter or buffer.

    Args:
        parameter: its qualified name.
        dim: the dimension that shrinks.
        unit: the group's unit at each position of ``dim``, or -1 where another's is; shape ``(size of dim,)``.
        role: ``out``, ``in`` or ``carry``.
    """

    parameter: str
    dim: int
    unit: Tensor
    role: str

    @property
    def layer(self) -> str:
        """The module that owns the parameter; for a bare parameter of the model its own name."""
        return self.parameter.rpartition(".")[0] or self.parameter


@dataclass(frozen=True)
class Group:
    """Channels that stand or fall together.

    Args:
        name: the first layer, in the model's order, that produces these channels.
        channels: how many units can go one by one: channels, attention heads, groups of a grouped convolution.
        producers: layers whose outputs they are; a criterion scores their weights.
        followers: depthwise and grouped convolutions, norms and bare parameters that carry them on.
        consumers: layers whose inputs they are.
        params: parameters that would go with all of them.
        macs: multiply-accumulates per example that would go with all of them.
        slices: where each unit lies in each parameter. In the plain case unit ``i`` is row ``i`` of each producer; an
            attention head is several rows.
        exact: removing equals setting to zero; False only for groups under a norm, which must be asked for.
        kind: a name in :data:`autoprune.results.candidate.KINDS`.
    """

    name: str
    channels: int
    producers: tuple[str, ...]
    followers: tuple[str, ...]
    consumers: tuple[str, ...]
    params: int
    macs: int
    slices: tuple[Slice, ...] = field(default=(), repr=False, compare=False)
    exact: bool = True
    kind: str = "channels"

    @property
    def rows(self) -> dict[str, Tensor]:
        """The unit at each output channel (-1: none of this group's), by producing parameter."""
        return {part.parameter: part.unit for part in self.slices if part.role == "out"}

    @property
    def plain(self) -> bool:
        """Whether unit ``i`` is output channel ``i`` of every producer, as criteria made for layers expect."""
        return all(torch.equal(unit, torch.arange(self.channels, dtype=unit.dtype)) for unit in self.rows.values())


@dataclass(frozen=True)
class Groups:
    """The groups that can be pruned, in the model's order, and why each of the others cannot.

    Args:
        left_alone: the reason by the name of a layer, or of a parameter whose layer is partly in a group. Every
            parameter is in a group or here.
        outputs: shapes of the model's output tensors for the example input.
    """

    prunable: tuple[Group, ...]
    left_alone: dict[str, str]
    outputs: tuple[torch.Size, ...] = ()

    def __iter__(self) -> Iterator[Group]:
        """Iterate over the prunable groups."""
        return iter(self.prunable)

    def __len__(self) -> int:
        """Return the number of prunable groups."""
        return len(self.prunable)

    def __getitem__(self, name: str) -> Group:
        """Return the group called ``name``."""
        return next(group for group in self.prunable if group.name == name)

    def named_as_in(self, others: Groups) -> Groups:
        """Return these groups by their names in ``others``, those of the same network with more blocks.

        A group is called after its first layer, which may have gone with a block; its other layers tell it.
        """
        taken, named = {group.name for group in self}, []
        known = {group.name for group in others}
        for group in self:
            if group.name not in known:
                same = (other.name for other in others if other.rows.keys() & group.rows.keys())
                group = replace(group, name=next((name for name in same if name not in taken), group.name))
                taken.add(group.name)
            named.append(group)
        return replace(self, prunable=tuple(named))

    def after(self, removed: Mapping[str, Collection[int]]) -> Groups:
        """Return the groups of the network that is left when ``removed`` units are gone, without tracing it again.

        Units are numbered anew, in the old order. Parameters and MACs of each group are scaled by its own loss only.
        """
        gone = removed_positions(self, removed)
        return replace(self, prunable=tuple(_shrunk(group, removed.get(group.name, ()), gone) for group in self))


def removed_positions(groups: Groups, removed: Mapping[str, Collection[int]]) -> dict[tuple[str, int], Tensor]:
    """Return which positions go, as a mask over each parameter's dimension that loses any."""
    gone: dict[tuple[str, int], Tensor] = {}
    for group in groups:
        units = removed.get(group.name, ())
        if not len(units):
            continue
        table = torch.zeros(group.channels + 1, dtype=torch.bool)
        table[list(units)] = True
        table[-1] = False  # where unit is -1
        for part in group.slices:
            mask = table[part.unit.long()]
            key = part.parameter, part.dim
            gone[key] = gone[key] | mask if key in gone else mask
    return gone


def _shrunk(group: Group, removed: Collection[int], gone: Mapping[tuple[str, int], Tensor]) -> Group:
    lost = set(removed)
    number = torch.full((group.channels + 1,), -1, dtype=torch.int32)
    left = [unit for unit in range(group.channels) if unit not in lost]
    number[left] = torch.arange(len(left), dtype=torch.int32)
    slices = []
    for part in group.slices:
        unit = number[part.unit.long()]
        mask = gone.get((part.parameter, part.dim))
        slices.append(replace(part, unit=unit if mask is None else unit[~mask]))
    share = len(left) / group.channels
    return replace(
        group,
        channels=len(left),
        slices=tuple(slices),
        params=round(group.params * share),
        macs=round(group.macs * share),
    )
