"""The one look of all tables: text to the left, numbers to the right, notes below."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box, table
from rich.text import Text


class Table(table.Table):
    """A table for the terminal. Cells are text as it stands, no markup.

    Args:
        headings: of the columns.
        left: headings of the columns that hold text, and are set to the left as the first one is.
        wraps: headings of the columns whose cells may be broken into lines.
        title: above.
        caption: lines below.
    """

    def __init__(
        self,
        *headings: str,
        left: Collection[str] = (),
        wraps: Collection[str] = (),
        title: str | None = None,
        caption: str = "",
    ) -> None:
        super().__init__(box=box.SIMPLE_HEAD, title=title and Text(title), caption=Text(caption) if caption else None)
        self.caption_justify = "left"
        for i, heading in enumerate(headings):
            justify: Literal["left", "right"] = "left" if i == 0 or heading in left else "right"
            self.add_column(Text(heading), justify=justify, no_wrap=heading not in wraps)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; see rich for the options."""
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    rule = ["---"] * len(headings)
    return [f"| {' | '.join(row)} |" for row in (headings, rule, *rows)]


def listed(entries: Mapping[str, str]) -> list[str]:
    """Return a line for each entry, its name and its text, the texts below each other."""
    width = max(map(len, entries), default=0)
    return [f"  {name:<{width}} {text}" for name, text in entries.items()]
