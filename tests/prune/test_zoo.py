"""The tables of docs/zoo.md: what they say follows from what was run, and no architecture is silently wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EXPERIMENTS = REPOSITORY / "experiments"
sys.path.append(str(EXPERIMENTS))
import zoo  # noqa: E402
import zoo_models  # noqa: E402

sys.path.remove(str(EXPERIMENTS))


def test_the_page_is_written_from_the_results() -> None:
    results = json.loads(zoo.RESULTS.read_text())
    assert zoo.PAGE.read_text() == zoo.page(results)
    wrong = [name for name, row in results.items() if row["result"].startswith("differs")]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("table", zoo_models.TABLES)
def test_no_architecture_is_silently_wrong(table: str) -> None:
    """Every model of a table in a process of its own, against the reference; AUTOPRUNE_TEST_ZOO runs only some.

    What does not run here at all (a memory limit, a configuration that transformers refuses) is not wrong.
    """
    pytest.importorskip({"recurrent": "torch"}.get(table, table))
    some = int(os.environ.get("AUTOPRUNE_TEST_ZOO", "8"))
    names = zoo_models.TABLES[table]()
    wrong = {}
    for name in names[:: max(1, len(names) // some)]:
        row = _examined(f"{table}:{name}")
        if row and row["result"] not in ("pass", "no group"):
            wrong[name] = row["result"]
    assert not wrong


def _examined(name: str) -> dict | None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", EXPERIMENTS / "zoo.py", "--one", name],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(found[0].removeprefix("RESULT ")) if found else None
