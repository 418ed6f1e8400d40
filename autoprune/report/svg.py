"""Elements of SVG, and the measures and colours of what is drawn layer by layer."""

from __future__ import annotations

from xml.etree import ElementTree

ROW, BAR, LANE = 54, 12, 7
"""Heights of a layer and of its bar, and the distance of the lines beside them, in pixels."""

CENTRE = 21 + BAR / 2
"""Of a layer's bar, from the layer's top."""

KEPT, FIXED, LOST = "var(--accent, var(--blue, #0b5cad))", "var(--soft, #616e7c)", "var(--line, #d5dce3)"
"""Colours of the page's, for the part kept, for what cannot be pruned, and for the rest."""

PAPER = "var(--paper, #fff)"


def add(parent: ElementTree.Element | None, tag: str, **attributes: object) -> ElementTree.Element:
    """Return a new element of ``parent``; attributes' underscores stand for hyphens."""
    named = {key.replace("_", "-"): str(value) for key, value in attributes.items()}
    return ElementTree.Element(tag, named) if parent is None else ElementTree.SubElement(parent, tag, named)


def free_lanes(spans: list[tuple[int, int]], most: int) -> list[int | None]:
    """Return a lane for each span from one layer to another, such that no two in a lane overlap; None: none is free."""
    taken: list[int] = []  # the last layer of each lane
    lanes: list[int | None] = [None] * len(spans)
    for i, (first, last) in sorted(enumerate(spans), key=lambda each: each[1]):
        free = next((lane for lane, end in enumerate(taken) if end < first), len(taken))
        if free < most:
            taken[free : free + 1] = [last]
            lanes[i] = free
    return lanes
