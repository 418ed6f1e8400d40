"""The data flow beside the layers of a drawing: what goes on to the next layer, what skips some, and where it joins."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from autoprune.report.svg import CENTRE, LANE, PAPER, ROW, add, free_lanes
from autoprune.results.network import ADDED, CONCATENATED, MULTIPLIED, READ, Edge, Network

SIGNS = {ADDED: "+", CONCATENATED: "‖", MULTIPLIED: "×"}

LANES = 4
"""Lines side by side, at most: what does not fit is not drawn."""

TRUNK = 12
"""Pixels between the line from layer to layer and the bars, and between it and what skips layers."""

READ_AT, LEAVES_AT, JOINED_AT = 9, 51, 42
"""Where a result comes to a layer, where it leaves it, and where it is joined in between, from the layer's top."""


@dataclass(frozen=True)
class Line:
    """Edges that share a line: one result that several layers read, or several that are joined in one place.

    Args:
        lane: counted from the bars; None where none is free.
    """

    edges: tuple[Edge, ...]
    lane: int | None = None

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last layer that it passes."""
        ends = [end for edge in self.edges for end in edge[:2]]
        return min(ends), max(ends)


@dataclass(frozen=True)
class Wiring:
    """All of a network's data flow as it is drawn.

    Args:
        straight: layers whose result the next one reads.
        lines: what skips layers, or joins.
    """

    straight: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def width(self) -> int:
        """Pixels that it needs, left of the bars."""
        lanes = [line.lane for line in self.lines if line.lane is not None]
        return TRUNK + (TRUNK + LANE * max(lanes) if lanes else 0)

    @property
    def left_out(self) -> int:
        """How many lines are not drawn."""
        return sum(line.lane is None for line in self.lines)


def wiring_of(network: Network) -> Wiring | None:
    """Return the data flow of a network; None where that was not written down."""
    if network.edges is None:
        return None
    straight, lines = [], dict[tuple[str, int], list[Edge]]()
    for edge in network.edges:
        if edge.kind == READ and edge.target == edge.source + 1:
            straight.append(edge.source)
        else:
            shared = edge.source if edge.kind == READ else edge.target
            lines.setdefault((edge.kind, shared), []).append(edge)
    found = [Line(tuple(edges)) for edges in lines.values()]
    lanes = free_lanes([line.span for line in found], LANES)
    return Wiring(tuple(straight), tuple(Line(line.edges, lane) for line, lane in zip(found, lanes, strict=True)))


def draw_wiring(root: ElementTree.Element, network: Network, wiring: Wiring, bars: int) -> None:
    """Draw the data flow to the left of the bars, which begin at ``bars`` pixels."""
    trunk = bars - TRUNK
    within = add(root, "g", aria_hidden="true", stroke="currentColor", fill="none", stroke_width=1.4)
    for i in range(len(network.layers)):
        add(within, "path", d=f"M{trunk} {ROW * i + CENTRE}H{bars}")
    for i in wiring.straight:
        add(within, "path", d=f"M{trunk} {ROW * i + CENTRE}V{ROW * (i + 1) + CENTRE}")
    for line in wiring.lines:
        if line.lane is not None:
            _draw_line(within, network, line, trunk, trunk - TRUNK - LANE * line.lane)
    for kind, layer in dict.fromkeys((e.kind, e.target) for line in wiring.lines for e in line.edges if e.kind != READ):
        add(within, "circle", cx=trunk, cy=ROW * layer + JOINED_AT, r=6, fill=PAPER)
        sign = {"text_anchor": "middle", "font_size": 11, "fill": "currentColor", "stroke": "none"}
        add(within, "text", x=trunk, y=ROW * layer + JOINED_AT + 4, **sign).text = SIGNS.get(kind, "?")


def _draw_line(parent: ElementTree.Element, network: Network, line: Line, trunk: int, x: int) -> None:
    one = add(parent, "g")
    names = [network.layers[end].name for end in dict.fromkeys(end for edge in line.edges for end in edge[:2])]
    add(one, "title").text = f"{line.edges[0].kind}: {', '.join(names)}"
    for source in dict.fromkeys(edge.source for edge in line.edges):
        add(one, "path", d=f"M{trunk} {ROW * source + CENTRE}V{ROW * source + LEAVES_AT}H{x}")
    at = READ_AT if line.edges[0].kind == READ else JOINED_AT
    for target in dict.fromkeys(edge.target for edge in line.edges):
        y = ROW * target + at
        add(one, "path", d=f"M{x} {y}H{trunk}V{ROW * target + CENTRE}")
        add(one, "path", d=f"M{trunk - 10} {y - 3}l5 3l-5 3z", fill="currentColor", stroke="none")
    ends = [ROW * edge.source + LEAVES_AT for edge in line.edges] + [ROW * edge.target + at for edge in line.edges]
    add(one, "path", d=f"M{x} {min(ends)}V{max(ends)}")


def spoken(network: Network, layer: int) -> list[str]:
    """Return in words what a layer reads, where that is not the layer before it, and what is joined with its result."""
    found: dict[str, list[str]] = {}
    for edge in network.edges or ():
        if edge.target == layer and not (edge.kind == READ and edge.source == layer - 1):
            found.setdefault(edge.kind, []).append(network.layers[edge.source].name)
    words = {READ: "reads {}", ADDED: "{} added to it", CONCATENATED: "{} concatenated with it"}
    return [words.get(kind, "{} multiplied with it").format(", ".join(names)) for kind, names in found.items()]
