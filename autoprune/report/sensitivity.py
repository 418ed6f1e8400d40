"""How much a network minds losing a part of each group alone: a table and a picture of the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from autoprune.base.tables import Table
from autoprune.report.picture import save
from autoprune.results.measures import METRIC, Measure

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""By group: ``(sparsity, metric)`` pairs, the first of sparsity 0."""


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


def draw_sensitivity(curves: Curves, file: Path, metric: Measure = METRIC) -> Path:
    """Draw the metric against the part of each group that was removed alone.

    Args:
        file: PNG, PDF or SVG, by its ending; its folder is made if need be.

    Raises:
        UserError: another ending.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for i, (group, curve) in enumerate(curves.items()):
        color = f"C{i % 10}"
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, linewidth=1.5, color=color, label=group)
    for axis in (axes.xaxis, axes.yaxis) if metric.is_share else (axes.xaxis,):
        axis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("removed of this group alone")
    axes.set_ylabel(f"{metric.noun} on validation")
    axes.grid(alpha=0.3)
    return save(figure, axes, file, "Sensitivity of each group")
