"""The terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import console
from rich.segment import Segment

from autoprune.base.printable import printable


class Console(console.Console):
    """A rich console that prints nothing but :func:`printable` text; its own colours and cursor moves stay."""

    def render(self, renderable, options=None) -> Iterable[Segment]:
        """Yield what ``renderable`` looks like."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
