"""The benchmark's raw results: one compressed table, with a row for each network that was judged or failed.

``pandas.read_csv("results.csv.gz")`` reads it as it is. What holds for a whole run stands in each of its rows, of which
a run without networks has one. Columns:

| column | meaning |
|---|---|
| ``schema`` | the version of these columns, :data:`SCHEMA` |
| ``task``, ``method``, ``seed``, ``budget`` | which run; the budget in CPU seconds |
| ``dense`` | the dense model's ``accuracy`` (validation), ``test``, ``params`` and ``macs`` |
| ``recovery`` | the recipe of the fine-tuning |
| ``notes`` | when something was ready, in seconds, by its name |
| ``ended``, ``revision``, ``machine``, ``versions`` | when it was run, and with what |
| ``time`` | CPU seconds from the start of the run until the network was judged |
| ``accuracy``, ``params``, ``macs`` | of the network, on the validation split |
| ``test`` | its accuracy on the test split, if it is on the run's front |
| ``parameters`` | which candidate it was |
| ``failure`` | why a candidate failed; nothing else is known of it |

Numbers are written in full; what has parts is JSON.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock

from autoprune.errors import UserError

SCHEMA = 1
FILE = Path(__file__).with_name("results.csv.gz")

KEY = ("task", "method", "seed", "budget")
RUN = (*KEY, "dense", "recovery", "notes", "ended", "revision", "machine", "versions")
TRIAL = ("time", "accuracy", "params", "macs", "test", "parameters")
FAILURE = "failure"
WORDS = ("task", "method", "ended", "revision", FAILURE)
"""The columns whose cells are not JSON."""

Record = Mapping[str, Any]
"""One run: the columns of :data:`RUN`; ``trials``, in order of time, each with the columns of :data:`TRIAL`, of which
``test`` may be missing; and ``failures``, a list of reasons."""


def key(record: Record) -> tuple[Any, ...]:
    """Return which run a record is of."""
    return tuple(record[name] for name in KEY)


def read(file: Path = FILE) -> list[Record]:
    """Return all runs of a table, ordered by :func:`key`; none if there is no such file.

    Raises:
        UserError: it is no such table, or of another version.
    """
    if not file.exists():
        return []
    try:
        with gzip.open(file, "rt", newline="") as text:
            rows = list(csv.DictReader(text))
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{file} is no table of results: {error}") from error
    if any(row.get("schema") != str(SCHEMA) for row in rows):
        raise UserError(f"{file} was written by another version: this one reads columns of schema {SCHEMA}")
    return [_record(list(of_run)) for _, of_run in groupby(rows, key)]


def write(records: Iterable[Record], file: Path = FILE) -> None:
    """Write a table that nobody ever sees half-written; the same records make the same bytes."""
    text = io.StringIO()
    table = csv.DictWriter(text, ("schema", *RUN, *TRIAL, FAILURE), lineterminator="\n")
    table.writeheader()
    for record in sorted(records, key=key):
        table.writerows(_rows(record))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    partial.replace(file)


def add(record: Record, file: Path = FILE) -> None:
    """Put a run into a table, in the place of the one of the same key; several processes may do so at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        write([*(each for each in read(file) if key(each) != key(record)), record], file)


def _rows(record: Record) -> list[dict[str, Any]]:
    of_run = {"schema": SCHEMA} | _cells(record, RUN)
    rows = [_cells(trial, TRIAL) for trial in record["trials"]] + [{FAILURE: each} for each in record["failures"]]
    return [of_run | row for row in rows or [{}]]


def _record(rows: Sequence[Mapping[str, str]]) -> Record:
    return _values(rows[0], RUN) | {
        "trials": [_values(row, TRIAL) for row in rows if row["time"]],
        "failures": [row[FAILURE] for row in rows if row[FAILURE]],
    }


def _cells(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    return {n: values[n] if n in WORDS else json.dumps(values[n], separators=(",", ":")) for n in names if n in values}


def _values(row: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] if name in WORDS else json.loads(row[name]) for name in names if row[name]}
