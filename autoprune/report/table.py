"""The Pareto front as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FrontTable:
    """The Pareto front beside the dense model and the baselines; rich prints it, at the width that there is."""

    experiment: Experiment
    final: Final | None = None
    objectives: Sequence[str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self.table()
        fits = Measurement.get(console, options.update(max_width=1000), wide).maximum <= options.max_width
        yield wide if fits else self.table(narrow=True)

    def table(self, narrow: bool = False) -> Table:
        """Return the table.

        Args:
            narrow: comparisons stand under their measures, not beside: about 80 columns instead of 125.
        """
        experiment, metric = self.experiment, self.experiment.metric
        baselines = list(experiment.baselines)
        rows = front_rows(experiment, self.final, self.objectives)
        tested = any(row.test for row in rows)
        names = ["Network"] if narrow else ["Network", "How"]
        judged = [f"{metric.title}\n{metric.compared_in}"]
        judged += ["Test\npercent" if metric.is_share else "Test"] if tested else []
        sizes = [f"{size.title}\n{size.better if narrow else size.compared_in}" for size in experiment.sizes.values()]
        above = [f"Above {name.replace('_', ' ')}".replace(" ", "\n") for name in baselines]
        headings = [*names, *judged, *sizes, *above]
        table = Table(*headings, left=names, title=_title(self), caption=_caption(self))
        table.padding = (0, 1 - narrow, 0, 0)
        for _, alike in groupby(rows, key=lambda row: row.kind):
            for row in alike:
                table.add_row(*_cells(row, baselines, narrow, tested), style=_style(row))
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


def _cells(row: Row, baselines: list[str], narrow: bool, tested: bool) -> list[Text]:
    mark = "* " if row.chosen else "  "
    how = row.about.replace(", one shot", "")
    names = [f"{mark}{row.label}\n  {how}"] if narrow else [mark + row.label, row.about]
    measures = [_measure(cell, narrow) for cell in row.cells.values()]
    if tested:
        measures.insert(1, Text(row.test.replace(" ± ", "\n± ") if narrow else row.test))
    return [*map(Text, names), *measures, *(Text(row.margins.get(name, "")) for name in baselines)]


def _measure(cell: Cell, narrow: bool) -> Text:
    return Text.assemble(cell.text, (f"\n{cell.compared}" if narrow else f"{cell.compared:>7}", "dim"))


def _style(row: Row) -> str:
    if row.chosen:
        return "bold green"
    return "dim" if row.kind in ("equal", "baseline") else ""


def _title(shown: FrontTable) -> str:
    objectives = shown.objectives or shown.experiment.objectives
    return f"{shown.experiment.name}: Pareto front of {' and '.join(objectives)}"


def _caption(shown: FrontTable) -> str:
    notes = [f"* chosen: {shown.final.reason}"] if shown.final else []
    if shown.experiment.dense:
        notes.append(f"second figures: against the dense model{_in_points(shown.experiment.metric)}")
    if shown.experiment.baselines:
        notes.append(_above(shown.experiment.metric))
    if fine_tuned_of(shown.experiment, shown.final):
        notes.append("test: recovered in full, mean and standard deviation over the seeds")
    if shown.final is None or not shown.final.latency_ms:
        notes.append("latency: as measured in the trial, while others ran")
    settings = TrialCommand.parse(shown.experiment.config.get("trialCommand", ""))  # None: another's experiment
    if settings is not None and (without := left_out(settings)):
        notes.append(without)
    return "\n".join(notes)


def _in_points(metric: Measure) -> str:
    return f", {metric.noun} in percentage points" if metric.is_share else ""


def _above(metric: Measure) -> str:
    unit = f"{metric.noun} points" if metric.is_share else f"how much better in {metric.noun}, and"
    return f"above: {unit} over the baseline at the same number of parameters"
