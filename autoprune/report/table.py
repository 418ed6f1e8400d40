"""The Pareto front as a table for the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from autoprune.base.tables import Table
from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.report.rows import Cell, Row, front_rows
from autoprune.results.baselines import left_out
from autoprune.results.experiment import Experiment
from autoprune.results.measures import Measure
from autoprune.results.settings import TrialCommand

NARROW = (32, 28, 24, 20, 16, 12)
"""Characters for how a network was pruned, where the table has to be narrow; the first that fit are taken."""

SHORTER = {"Parameters": "Params"}
"""Headings where the table is narrow."""


@dataclass(frozen=True)
class FrontTable:
    """The Pareto front beside the dense model and the baselines; rich prints it, at the width that there is."""

    experiment: Experiment
    final: Final | None = None
    objectives: Sequence[str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for names in (None, *NARROW):
            table = self.table(names)
            if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
                break
        yield table

    def table(self, names_within: int | None = None) -> Table:
        """Return the table.

        Args:
            names_within: if given, comparisons stand under their measures, not beside, and what says how a network was
                pruned is broken into lines of so many characters: 80 columns or less instead of 135.
        """
        narrow = names_within is not None
        experiment, metric = self.experiment, self.experiment.metric
        baselines = list(experiment.baselines)
        rows = front_rows(experiment, self.final, self.objectives)
        tested = any(row.test for row in rows)
        names = ["Network"] if narrow else ["Network", "How"]
        judged = [f"{metric.title}\n{metric.compared_in}"]
        judged += ["Test\n%" if narrow else "Test\npercent"] if tested and metric.is_share else ["Test"] * tested
        shown = experiment.sizes.values()
        titles = {size: SHORTER.get(size.title, size.title) if narrow else size.title for size in shown}
        sizes = [f"{title}\n{size.better if narrow else size.compared_in}" for size, title in titles.items()]
        above = [f"Above {name.replace('_', ' ')}".replace(" ", "\n") for name in baselines]
        headings = [*names, *judged, *sizes, *(["Above"] if narrow and above else above)]
        table = Table(*headings, left=names, title=_title(self), caption=_caption(self, narrow))
        table.padding = (0, 1 - narrow, 0, 0)
        for _, alike in groupby(rows, key=lambda row: row.kind):
            for row in alike:
                table.add_row(*_cells(row, baselines, names_within, tested), style=_style(row))
            table.add_section()
        if not experiment.candidates:
            table.add_row(Text("no trial has succeeded yet", style="italic"))
        return table


def front_table(
    experiment: Experiment, final: Final | None = None, objectives: Sequence[str] | None = None
) -> FrontTable:
    """Return the Pareto front beside the dense model and the baselines, to be printed by rich.

    Args:
        final: marks the chosen trial and gives latencies measured in turn.
        objectives: whose front it is; the experiment's own if None.
    """
    return FrontTable(experiment, final, objectives)


def front_text(experiment: Experiment) -> str:
    """Return the table as plain text, as wide as the terminal."""
    page = StringIO()
    Console(file=page, width=shutil.get_terminal_size((100, 24)).columns).print(front_table(experiment))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _cells(row: Row, baselines: list[str], names_within: int | None, tested: bool) -> list[Text]:
    narrow = names_within is not None
    names = [("* " if row.chosen else "  ") + row.label, row.about]
    if names_within is not None:
        how = textwrap.wrap(
            row.about.replace(", one shot", ""), names_within, break_long_words=False, break_on_hyphens=False
        )
        names = ["\n  ".join([names[0], *how])]
    measures = [_measure(cell, narrow) for cell in row.cells.values()]
    if tested:
        measures.insert(1, Text(row.test.replace(" ± ", "\n± ") if narrow else row.test))
    above = [row.margins.get(name, "") for name in baselines]
    if narrow and above:
        above = ["\n".join(above).strip()]
    return [*map(Text, names), *measures, *map(Text, above)]


def _measure(cell: Cell, narrow: bool) -> Text:
    return Text.assemble(cell.text, (f"\n{cell.compared}" if narrow else f"{cell.compared:>7}", "dim"))


def _style(row: Row) -> str:
    if row.chosen:
        return "bold green"
    return "dim" if row.kind in ("equal", "baseline") else ""


def _title(shown: FrontTable) -> str:
    objectives = shown.objectives or shown.experiment.objectives
    return f"{shown.experiment.name}: Pareto front of {' and '.join(objectives)}"


def _caption(shown: FrontTable, narrow: bool) -> str:
    notes = [f"* chosen: {shown.final.reason}"] if shown.final else []
    if shown.experiment.dense:
        notes.append(f"second figures: against the dense model{_in_points(shown.experiment.metric)}")
    if shown.experiment.baselines:
        notes.append(_above(shown.experiment.metric, list(shown.experiment.baselines) if narrow else []))
    if fine_tuned_of(shown.experiment, shown.final):
        judged = shown.experiment.metric.noun
        notes.append(
            f"where there is a test figure, {judged} and test are those after the last fine-tuning: means over seeds"
        )
    if shown.final is None or not shown.final.latency_ms:
        notes.append("latency: as measured in the trial, while others ran")
    settings = TrialCommand.parse(shown.experiment.config.get("trialCommand", ""))  # None: another's experiment
    if settings is not None and (without := left_out(settings)):
        notes.append(without)
    return "\n".join(notes)


def _in_points(metric: Measure) -> str:
    return f", {metric.noun} in percentage points" if metric.is_share else ""


def _above(metric: Measure, names: Sequence[str]) -> str:
    unit = f"{metric.noun} points" if metric.is_share else f"how much better in {metric.noun}, and"
    which = f"{', then '.join(names)}," if names else "the baseline"
    return f"above: {unit} over {which} at the same number of parameters"
