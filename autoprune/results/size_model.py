"""How large a candidate will be, known before it is built: arithmetic, without PyTorch or the model.

A layer's parameters and MACs shrink by the share that each of its dimensions loses, and those shares are sums over the
groups that reach the dimension. :func:`autoprune.prune.size_model.size_model` writes such a model down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autoprune.results.candidate import TIE, channels_kept, spread_ties


@dataclass(frozen=True)
class Term:
    """What one parameter tensor costs.

    Args:
        params: its elements.
        macs: multiply-accumulates of one example that it takes part in.
        dims: for each of its dimensions that can shrink, the share that belongs to each group, by the group's name.
    """

    params: float
    macs: float
    dims: tuple[Mapping[str, float], ...]

    def left(self, lost: Mapping[str, float]) -> tuple[float, float]:
        """Return the elements and MACs that stay where each group has lost this share of its channels."""
        share = math.prod(1 - sum(share * lost[name] for name, share in dim.items()) for dim in self.dims)
        return self.params * share, self.macs * share


@dataclass(frozen=True)
class SizeModel:
    """The parameters and MACs of every candidate of a network.

    Sparsities are by the name of a group or of a tie (:data:`autoprune.results.candidate.TIE`).

    Args:
        channels: of each group, by name.
        terms: whose sum is the network's.
        round_to: kept channels are a multiple of this.
        kinds: of each group, by name; empty in what earlier versions wrote.
    """

    channels: Mapping[str, int]
    terms: tuple[Term, ...]
    round_to: int = 8
    kinds: Mapping[str, str] = field(default_factory=dict)

    def kept(self, sparsity: Mapping[str, float]) -> dict[str, int]:
        """Return the channels that each group keeps; groups that ``sparsity`` does not name stay whole."""
        asked = spread_ties(sparsity, self.kinds)
        return {name: channels_kept(n, asked.get(name, 0.0), self.round_to) for name, n in self.channels.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """All names that stand for groups: the groups', and those of the ties that are possible."""
        return (*self.channels, *(TIE + kind for kind in dict.fromkeys(self.kinds.values())))

    def members(self, name: str) -> tuple[str, ...]:
        """Return the groups that a name stands for: the group of that name, or those of a tie.

        Raises:
            KeyError: there is none.
        """
        tied = tuple(group for group, kind in self.kinds.items() if TIE + kind == name)
        if not tied and name not in self.channels:
            raise KeyError(name)
        return tied or (name,)

    def kept_of(self, name: str, sparsity: float) -> tuple[int, ...]:
        """Return the channels that each of the groups keeps that a name stands for."""
        return tuple(channels_kept(self.channels[group], sparsity, self.round_to) for group in self.members(name))

    def sizes(self, sparsity: Mapping[str, float]) -> dict[str, float]:
        """Return the ``params`` and ``macs`` of the network whose groups have these sparsities."""
        lost = {name: 1 - kept / self.channels[name] for name, kept in self.kept(sparsity).items()}
        params = macs = 0.0
        for term in self.terms:
            of_params, of_macs = term.left(lost)
            params += of_params
            macs += of_macs
        return {"params": params, "macs": macs}

    def levels(self, group: str) -> list[float]:
        """Return the sparsities of a group, or of a tie's largest, that differ in the channels kept, from 0 up."""
        channels = max(self.channels[member] for member in self.members(group))
        found: dict[int, float] = {}
        for gone in range(channels):
            found.setdefault(channels_kept(channels, gone / channels, self.round_to), gone / channels)
        return sorted(1 - kept / channels for kept in found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold (the inverse of :meth:`from_dict`)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SizeModel:
        """Read what :meth:`to_dict` wrote."""
        terms = tuple(Term(term["params"], term["macs"], tuple(term["dims"])) for term in content["terms"])
        return cls(content["channels"], terms, content["round_to"], content.get("kinds", {}))
