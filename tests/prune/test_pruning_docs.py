"""The tables in the documentation say what the registries hold."""

import re
from pathlib import Path

import pytest

from autoprune.prune.allocation import METHODS
from autoprune.prune.criteria import CRITERIA
from autoprune.prune.schedules import SCHEDULES

DOCS = Path(__file__).parents[2] / "docs"


def rows(page):
    """Return the cells of each table row that starts with a name, of its first table."""
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / page).read_text(), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in reversed(lines)}


def test_every_criterion_is_in_the_table_with_what_it_needs():
    table = rows("criteria.md")
    assert set(table) == set(CRITERIA) | set(METHODS)
    for name, criterion in CRITERIA.items():
        needs = table[name][1 if criterion.structured else 2]
        told = "training" if "training" in criterion.needs else ", ".join(criterion.needs) or "nothing"
        assert needs == told, name


def test_every_schedule_is_in_the_table_with_its_rounds():
    table = rows("schedules.md")
    assert set(table) == set(SCHEDULES)
    for name, schedule in SCHEDULES.items():
        assert table[name][1] == ("-" if schedule.grow else str(schedule.rounds))


@pytest.mark.parametrize("registry", [CRITERIA, SCHEDULES])
def test_everything_names_its_paper(registry):
    assert all(entry.paper for entry in registry.values())
