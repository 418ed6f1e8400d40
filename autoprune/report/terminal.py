"""The terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import rich.console
from rich.segment import Segment

from autoprune.base.printable import printable


class Console(rich.console.Console):
    """A rich console that prints nothing but :func:`printable` text; its own colours and cursor moves stay."""

    def render(self, renderable, options=None) -> Iterable[Segment]:
        """Yield what ``renderable`` looks like."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console() -> Console:
    """Return the terminal, or, where the output is none, a page of 140 columns."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def side_console() -> Console:
    """Return the console for what is not the result: stderr."""
    return Console(stderr=True, highlight=False)


def show(*what: rich.console.RenderableType) -> None:
    """Print tables and lines, one below the other."""
    page = console()
    for each in what:
        page.print(each)
