"""Tables: how they are set, and that cells are taken as they stand."""

import io

from rich.console import Console

from autoprune.base.tables import Table, listed, markdown


def printed(table, width=60):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_text_is_set_to_the_left_and_numbers_to_the_right_with_the_notes_below():
    table = Table("name", "how", "MACs", left=["how"], caption="notes")
    table.add_row("a", "shared", "1")
    table.add_row("longer", "x", None)
    table.add_row("b", "y", "1,000")
    heading, rule, *rows, notes = printed(table)
    assert heading.split() == ["name", "how", "MACs"]
    assert set(rule.strip()) == {"─"}
    assert rows == ["  a        shared       1", "  longer   x", "  b        y        1,000"]
    assert notes == "notes"


def test_a_cell_is_no_markup():
    table = Table("[bold]name", title="[red]x", caption="[b]")
    table.add_row("[bold]layer[/]")
    assert [line.strip() for line in printed(table)][:2] == ["[red]x", "[bold]name"]
    assert any("[bold]layer[/]" in line for line in printed(table))
    assert printed(table)[-1] == "[b]"


def test_only_what_may_wrap_is_broken_into_lines():
    table = Table("file", "about", left=["about"], wraps=["about"])
    table.add_row("a" * 20, "one two three four five")
    assert sum("a" * 20 in line for line in printed(table, 40)) == 1
    assert len(printed(table, 40)) > 3


def test_tables_in_markdown_and_lists_of_entries():
    assert markdown(["", "pruned"], [["size", "1 kB"]]) == ["|  | pruned |", "| --- | --- |", "| size | 1 kB |"]
    assert listed({"report": "x.html", "pt2": "m.pt2"}) == ["  report x.html", "  pt2    m.pt2"]
    assert listed({}) == []
