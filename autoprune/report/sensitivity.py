"""How much a network minds losing a part of each group alone: a table and a picture of the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from autoprune.base.tables import Table
from autoprune.report.picture import save
from autoprune.results.measures import METRIC, Measure

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""By group: ``(sparsity, metric)`` pairs, the first of sparsity 0."""

Lost = dict[str, list[float | None]]
"""By group: the change of the metric at each of some sparsities, or None where none was measured."""

COLUMNS = (*(i / 8 for i in range(1, 8)), 15 / 16)
"""Sparsities of a heat map, up to the highest that is probed."""


MANY = 10
"""Of more groups, lines cannot be told apart any more: they are drawn as a heat map."""


def is_many(curves: Curves) -> bool:
    """Whether there are more groups than can be told apart as lines."""
    return len(curves) > MANY


def whose(schedule: str) -> str:
    """Return which network was probed, by the schedule that the probe stands for: there are two sensitivities."""
    return "supernet" if schedule == "supernet" else "dense network"


def lost_by_sparsity(curves: Curves) -> tuple[list[float], Lost]:
    """Return the sparsities that were probed, and each group's change of the metric there: the columns of a heat map.

    Kept channels are rounded, so that sparsities differ between groups: each goes to the nearest column, None stands
    where there is none.
    """
    found: Lost = {}
    for group, curve in curves.items():
        changes: list[float | None] = [None] * len(COLUMNS)
        for sparsity, value in curve[1:]:
            changes[int(np.abs(np.array(COLUMNS) - sparsity).argmin())] = value - curve[0][1]
        found[group] = changes
    used = [i for i in range(len(COLUMNS)) if any(row[i] is not None for row in found.values())]
    return [COLUMNS[i] for i in used], {group: [row[i] for i in used] for group, row in found.items()}


def lost_by_group(curves: Curves, metric: Measure = METRIC) -> tuple[list[str], dict[str, list[str]]]:
    """Return the sparsities as headings, and each group's cells: how the metric changes there, a fraction in points.

    Kept channels are rounded, so that not every group was probed at every sparsity: such cells are empty.
    """
    sparsities = sorted({round(sparsity, 2) for curve in curves.values() for sparsity, _ in curve if sparsity})
    cells = {}
    for group, curve in curves.items():
        whole = curve[0][1]
        lost = {round(sparsity, 2): metric.difference(value - whole) for sparsity, value in curve if sparsity}
        cells[group] = [lost.get(sparsity, "") for sparsity in sparsities]
    return [f"{sparsity:.0%}" for sparsity in sparsities], cells


def sensitivity_table(curves: Curves, metric: Measure = METRIC) -> Table:
    """Return a table for the terminal: a row for each group, a column for each sparsity, the metric's change within.

    Args:
        curves: by group, in the network's order.
    """
    headings, cells = lost_by_group(curves, metric)
    dense = next((curve[0][1] for curve in curves.values()), None)
    unit = " in points" if metric.is_share else ""
    caption = "" if dense is None else f"change of the {metric.noun}{unit}\nwhole network: {metric.write(dense)}"
    table = Table("without this part of the group", *headings, caption=caption)
    for group, row in cells.items():
        table.add_row(group, *row)
    return table


def draw_sensitivity(
    curves: Curves, file: Path, metric: Measure = METRIC, title: str = "Sensitivity of each group"
) -> Path:
    """Draw the metric against the part of each group that was removed alone: lines, or a heat map of many groups.

    Args:
        file: PNG, PDF or SVG, by its ending; its folder is made if need be.

    Raises:
        UserError: another ending.
    """
    figure = Figure(figsize=(8, 1.5 + 0.25 * len(curves) if is_many(curves) else 5), layout="constrained")
    axes = figure.subplots()
    (_draw_map if is_many(curves) else _draw_lines)(figure, axes, curves, metric)
    axes.set_xlabel("removed of this group alone")
    return save(figure, axes, file, title)


def _draw_map(figure: Figure, axes: Axes, curves: Curves, metric: Measure) -> None:
    columns, lost = lost_by_sparsity(curves)
    costs = [[np.nan if each is None else max(0.0, metric.cost(each)) for each in row] for row in lost.values()]
    drawn = axes.imshow(costs, cmap="OrRd", vmin=0, aspect="auto")
    axes.set_xticks(range(len(columns)), [f"{column:.0%}" for column in columns])
    axes.set_yticks(range(len(lost)), list(lost), fontsize="small")
    bar = figure.colorbar(drawn, label=f"{metric.noun} lost on validation")
    if metric.is_share:
        bar.formatter = PercentFormatter(1)


def _draw_lines(figure: Figure, axes: Axes, curves: Curves, metric: Measure) -> None:
    for i, (group, curve) in enumerate(curves.items()):
        color = f"C{i % 10}"
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, linewidth=1.5, color=color, label=group)
    for axis in (axes.xaxis, axes.yaxis) if metric.is_share else (axes.xaxis,):
        axis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel(f"{metric.noun} on validation")
    axes.grid(alpha=0.3)
