"""How large a candidate will be, known before it is built: arithmetic, without PyTorch or the model.

A layer's parameters and MACs shrink by the share that each of its dimensions loses, and those shares are sums over the
groups that reach the dimension. :func:`autoprune.prune.size_model.size_model` writes such a model down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoprune.results.candidate import channels_kept


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

    Args:
        channels: of each group, by name.
        terms: whose sum is the network's.
        round_to: kept channels are a multiple of this.
    """

    channels: Mapping[str, int]
    terms: tuple[Term, ...]
    round_to: int = 8

    def kept(self, sparsity: Mapping[str, float]) -> dict[str, int]:
        """Return the channels that each group keeps; groups that ``sparsity`` does not name stay whole."""
        return {name: channels_kept(n, sparsity.get(name, 0.0), self.round_to) for name, n in self.channels.items()}

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
        """Return the sparsities of a group that differ in the channels kept, from 0 up."""
        channels = self.channels[group]
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
        return cls(content["channels"], terms, content["round_to"])
