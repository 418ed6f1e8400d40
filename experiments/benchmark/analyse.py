"""Write the benchmark's tables and pictures from the raw results: docs/benchmark.md and docs/images/benchmark-*.png.

python experiments/benchmark/analyse.py [--results FILE] [--budget SECONDS] [--page FILE] [--images FOLDER]
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import plots
import results
from measures import (
    SHARES,
    at_times,
    best_at,
    p_value,
    quartiles,
    test_volume,
    time_to,
    validation_volume,
    volume_over_time,
)
from methods import LABELS
from results import Record

from autoprune.errors import UserError

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
BEGIN, END = "<!-- written by experiments/benchmark/analyse.py -->", "<!-- end -->"
OURS, NNI = "autoprune", "nni_recipe"
TIMES = (1, 2, 5, 10)
"""Budgets, as multiples of the others', at which NNI's recipe's runs with a larger budget are looked at."""

ByMethod = Mapping[str, Sequence[Record]]
"""The runs of one task, by method."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=results.FILE, help="the table of results")
    parser.add_argument("--budget", type=float, help="of the runs that are compared; the smallest there is")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "benchmark.md")
    parser.add_argument("--images", type=Path, default=REPOSITORY / "docs" / "images")
    options = parser.parse_args(arguments)
    records, longer = by_budget(results.read(options.results), options.budget)
    if not records:
        raise UserError(f"no such runs in {options.results}: run experiments/benchmark/run.py first")
    parts = [setting(records)]
    for task in dict.fromkeys(record["task"] for record in records):
        of_task = [record for record in records if record["task"] == task]
        by_method = {name: found for name in LABELS if (found := [r for r in of_task if r["method"] == name])}
        pictures = {
            "hypervolume": ("The hypervolume over time", plots.hypervolume_over_time),
            "front": ("The fronts at the end", plots.fronts),
        }
        parts += [f"## {task}", task_line(of_task[0])]
        for kind, (caption, plot) in pictures.items():
            file = options.images / f"benchmark-{task}-{kind}.png"
            plot(by_method, task, file)
            parts.append(f"![{caption}, {task}]({os.path.relpath(file, options.page.parent)})")
        patient = [record for record in longer if record["task"] == task]
        tables = (volumes(by_method), times(by_method), with_more_time(by_method, patient), accuracies(by_method))
        parts += [table(rows) for rows in tables if rows]
    text = options.page.read_text() if options.page.exists() else f"{BEGIN}\n{END}\n"
    body = "\n\n".join([BEGIN, *parts, END])
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise UserError(f"{options.page} has no lines {BEGIN} and {END} to write between")
    options.page.write_text(pattern.sub(lambda _: body, text))
    print("\n\n".join(parts[1:]))
    print(f"\nwritten: {options.page}, {options.images}/benchmark-*.png")


def by_budget(records: Sequence[Record], budget: float | None) -> tuple[list[Record], list[Record]]:
    """Return the runs with a budget, the smallest if None, and NNI's recipe's runs with a larger one."""
    budget = min((record["budget"] for record in records), default=0) if budget is None else budget
    longer = [record for record in records if record["method"] == NNI and record["budget"] > budget]
    return [record for record in records if record["budget"] == budget], longer


def setting(records: Sequence[Record]) -> str:
    """Return who made the results, with what."""
    seeds = len({record["seed"] for record in records})
    machines = sorted({", ".join(record["machine"].values()) for record in records})
    versions = sorted({", ".join(f"{k} {v}" for k, v in record["versions"].items()) for record in records})
    revisions = sorted({record["revision"] for record in records})
    ended = sorted(record["ended"] for record in records)
    return (
        f"{len(records)} runs, {seeds} seeds, {records[0]['budget']:g} CPU seconds each on one thread, "
        f"from {ended[0][:10]} to {ended[-1][:10]}. Machine: {'; '.join(machines)}. Versions: {'; '.join(versions)}. "
        f"Code: {', '.join(revisions)}."
    )


def task_line(record: Record) -> str:
    """Return what was pruned, and how it was fine-tuned."""
    dense, recipe = record["dense"], record["recovery"]
    return (
        f"Dense: {dense['params']:,} parameters, {dense['macs']:,} MACs, accuracy {dense['accuracy']:.2%} on the "
        f"validation split, {dense['test']:.2%} on the test split. Full fine-tuning: {recipe['steps']} steps of "
        f"{recipe['batch_size']}, learning rate {recipe['learning_rate']:g}, distillation {recipe['distillation']:g} "
        f"at temperature {recipe['temperature']:g}."
    )


def volumes(by_method: ByMethod) -> list[list[str]]:
    """Return the table of final hypervolumes."""
    rows = [["Hypervolume at the end", "networks"]]
    for label in ("log MACs", "log parameters"):
        rows[0] += [f"{label}, validation", "p", f"{label}, test", "p"]
    values = {
        method: [
            [measure(record, size) for record in records]
            for size in plots.SIZES
            for measure in (validation_volume, test_volume)
        ]
        for method, records in by_method.items()
    }
    for method, columns in values.items():
        judged = statistics.median(len(record["trials"]) for record in by_method[method])
        row = [LABELS[method], f"{judged:g}"]
        for i, column in enumerate(columns):
            row += [_spread(column, "{:.3f}"), _p(method, column, values, i)]
        rows.append(row)
    return rows


def times(by_method: ByMethod) -> list[list[str]]:
    """Return the table of the times at which NNI's final median hypervolume was reached."""
    rows = [["Until NNI's final hypervolume"]]
    for label in ("log MACs", "log parameters"):
        rows[0] += [f"{label}, seconds", "times sooner"]
    if NNI not in by_method:
        return []
    targets = {size: quartiles([validation_volume(r, size) for r in by_method[NNI]])[0] for size in plots.SIZES}
    for method, records in by_method.items():
        row = [LABELS[method]]
        for size, target in targets.items():
            reached = [time_to(volume_over_time(record, size), target) for record in records]
            row += _sooner(reached, records[0]["budget"])
        rows.append(row)
    return rows


def with_more_time(by_method: ByMethod, patient: Sequence[Record]) -> list[list[str]]:
    """Return the table of what NNI's recipe reaches with more time, and when AutoPrune had the same."""
    if not patient or OURS not in by_method:
        return []
    rows = [["NNI's recipe with more time"]]
    for label in ("log MACs", "log parameters"):
        rows[0] += [f"{label}, hypervolume", "AutoPrune has it after, seconds", "times sooner"]
    for seconds in [n * by_method[OURS][0]["budget"] for n in TIMES]:
        if seconds > patient[0]["budget"]:
            break
        row = [f"after {seconds:g} s"]
        for size in plots.SIZES:
            reached = [float(at_times(volume_over_time(r, size), np.array([seconds]))[0]) for r in patient]
            ours = [time_to(volume_over_time(r, size), quartiles(reached)[0]) for r in by_method[OURS]]
            row += [_spread(reached, "{:.3f}"), *_sooner(ours, seconds)]
        rows.append(row)
    return rows


def accuracies(by_method: ByMethod) -> list[list[str]]:
    """Return the table of the best networks' test accuracies at given shares of the dense MACs."""
    rows = [["Test accuracy, best on validation"]]
    for share in SHARES:
        rows[0] += [f"{share:.0%} of the MACs", "p"]
    values = {
        m: [[best_at(record, share) for record in records] for share in SHARES] for m, records in by_method.items()
    }
    for method, columns in values.items():
        row = [LABELS[method]]
        for i, column in enumerate(columns):
            row += [_spread([100 * value for value in column], "{:.2f}"), _p(method, column, values, i)]
        rows.append(row)
    return rows


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of which is the head, as Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines[:1], "|" + "---|" * len(rows[0]), *lines[1:]]) if rows else ""


def _spread(values: Sequence[float], style: str) -> str:
    """Return median and quartiles; a run without a value counts as the worst, and so may they."""
    middle, low, high = (style.format(v) if math.isfinite(v) else "none" for v in quartiles(values))
    return f"{middle} ({low} to {high})"


def _sooner(reached: Sequence[float], than: float) -> list[str]:
    """Return when runs got there and how many, and how many times sooner than ``than`` seconds their median is."""
    middle, count = quartiles(reached)[0], sum(map(math.isfinite, reached))
    times_sooner = f"{than / middle:.1f}x" if 0 < middle < math.inf else "-"
    return [_spread(reached, "{:.1f}") + f" ({count} of {len(reached)})", times_sooner]


def _p(method: str, column: Sequence[float], values: Mapping[str, Sequence[Sequence[float]]], i: int) -> str:
    """Return the p-value against AutoPrune, and which of the two medians is higher."""
    if method == OURS or OURS not in values:
        return ""
    ours = values[OURS][i]
    p = p_value(column, ours)
    better = ">" if quartiles(column)[0] > quartiles(ours)[0] else "<"
    return f"{better} {p:.3f}" if math.isfinite(p) else "-"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
