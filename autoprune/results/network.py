"""A network's layers as plain values, to be drawn with what a candidate keeps of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoprune.base.files import read_object
from autoprune.results.size_model import Term

FILE = "network.json"
"""In the folder of the dense model's trial, which wrote it."""


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
    """

    layers: tuple[Layer, ...]
    channels: Mapping[str, int]

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
        return cls(tuple(layers), content["channels"])


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
