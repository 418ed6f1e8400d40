"""A network's layers as plain values, to be drawn with what a candidate keeps of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from autoprune.base.files import read_object
from autoprune.results.size_model import Term

FILE = "network.json"
"""In the folder of the dense model's trial, which wrote it."""


READ, ADDED, CONCATENATED, MULTIPLIED = "read", "added", "concatenated", "multiplied"
"""What becomes of a layer's result at another layer: it is what that reads, or is joined with what that makes."""


class Edge(NamedTuple):
    """Who feeds whom.

    Args:
        source: the layer after which the result is there, by its place among the layers, from 0.
        target: the layer that reads it, or after which it is joined.
        kind: ``read``, ``added``, ``concatenated`` or ``multiplied``.
    """

    source: int
    target: int
    kind: str


@dataclass(frozen=True)
class Layer:
    """A layer that multiplies by a matrix or a kernel, with the norms that follow it.

    Args:
        name: of the module.
        kind: for people: ``Conv2d 3x3``.
        inputs: channels that it reads.
        outputs: channels that it makes.
        groups: the share of its outputs that belongs to each coupled group, by the group's name.
        terms: what its parameters and its norms' cost.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    groups: Mapping[str, float]
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Network:
    """The layers of a dense network, in the order in which they run.

    Args:
        layers: each once.
        channels: of each coupled group, by name.
        edges: who feeds whom; None where that was not written down.
    """

    layers: tuple[Layer, ...]
    channels: Mapping[str, int]
    edges: tuple[Edge, ...] | None = None

    def kept(self, kept: Mapping[str, int], dropped: Collection[str] = ()) -> list[tuple[int, float, float]]:
        """Return what is left of each layer: its output channels, its parameters and its MACs.

        Args:
            kept: channels that each group keeps; groups that it does not name stay whole.
            dropped: names of residual blocks that are gone.
        """
        lost = {name: 1 - kept.get(name, total) / total for name, total in self.channels.items()}
        found = []
        for layer in self.layers:
            if any(layer.name == block or layer.name.startswith(f"{block}.") for block in dropped):
                found.append((0, 0.0, 0.0))
                continue
            outputs = layer.outputs * (1 - sum(share * lost[name] for name, share in layer.groups.items()))
            left = [term.left(lost) for term in layer.terms]
            params, macs = (sum(sizes) for sizes in zip(*left, strict=True)) if left else (0.0, 0.0)
            found.append((round(outputs), params, macs))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold (the inverse of :meth:`from_dict`)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Network:
        """Read what :meth:`to_dict` wrote."""
        layers = []
        for each in content["layers"]:
            terms = tuple(Term(term["params"], term["macs"], tuple(term["dims"])) for term in each["terms"])
            layers.append(Layer(**{**each, "terms": terms}))
        edges = content.get("edges")
        return cls(tuple(layers), content["channels"], None if edges is None else _edges(edges, len(layers)))


def _edges(content: Sequence[Sequence[Any]], layers: int) -> tuple[Edge, ...]:
    edges = tuple(Edge(*each) for each in content)
    if not all(0 <= place < layers for edge in edges for place in edge[:2]):
        raise ValueError("there is an edge to no layer")
    return edges


def read_network(folder: Path) -> Network | None:
    """Return the network that the dense model's trial left in its ``folder``; None if it left none that can be read."""
    try:
        return Network.from_dict(read_object(folder / FILE)[0])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def network_of_groups(channels: Mapping[str, int]) -> Network:
    """Return a network of which no more is known than its coupled groups: each stands for its layers."""
    return Network(
        tuple(Layer(name, "coupled group", 0, total, {name: 1.0}) for name, total in channels.items()), channels
    )
