"""Pareto fronts as a picture file, for a paper or a chat; matplotlib draws, so it needs no browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from autoprune.base.places import check_file
from autoprune.errors import UserError
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import SIZES, Measure

COLORS = ("#0b5cad", "#d98200", "#00856a", "#7a4fa3", "#c8371b", "#8a6d3b")


def front_picture(experiment: Experiment, file: Path, size: str = "macs") -> Path:
    """Draw all candidates, the front, the baselines and the dense model.

    Args:
        file: PNG, PDF or SVG, by its ending; its folder is made if need be.
        size: the measure on the horizontal axis, see :data:`autoprune.results.measures.SIZES`.
    """
    figure, axes = _axes(size, experiment.metric)
    _dots(axes, experiment.candidates, size, color="#9aa5b1", alpha=0.5, s=18, label="candidates")
    for (name, trials), color in zip(experiment.baselines.items(), COLORS[1:], strict=False):
        ordered = sorted(trials, key=lambda trial: trial.measures[size])
        _line(axes, ordered, size, color=color, marker="D", linestyle=":", label=f"baseline {name}")
    front = _front(experiment, size)
    _line(axes, front, size, color=COLORS[0], marker="o", label="Pareto front")
    _star(axes, experiment, size, "dense model")
    return save(figure, axes, file, f"{experiment.name} ({experiment.id})")


def fronts_picture(experiments: Sequence[Experiment], file: Path, size: str = "macs") -> Path:
    """Draw the fronts of several experiments over each other."""
    figure, axes = _axes(size, experiments[0].metric)
    for i, experiment in enumerate(experiments):
        label = f"{experiment.name} {experiment.id}"
        _line(axes, _front(experiment, size), size, color=COLORS[i % len(COLORS)], marker="o", label=label)
    first = next((experiment for experiment in experiments if experiment.dense), None)
    if first:
        _star(axes, first, size, "dense model")
    return save(figure, axes, file, "Pareto fronts")


def _axes(size: str, metric: Measure) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: SIZES[size].write(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if metric.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(f"{SIZES[size].title} (log scale)")
    axes.set_ylabel(f"{metric.noun} on validation")
    axes.grid(alpha=0.3)
    return figure, axes


def _front(experiment: Experiment, size: str) -> list[Trial]:
    return sorted(experiment.front((experiment.metric.name, size)), key=lambda trial: trial.measures[size])


def _points(trials: Sequence[Trial], size: str) -> tuple[list[float], list[float]]:
    return [trial.measures[size] for trial in trials], [trial.quality for trial in trials]


def _dots(axes: Axes, trials: Sequence[Trial], size: str, **look) -> None:
    if trials:
        axes.scatter(*_points(trials, size), linewidths=0, **look)


def _line(axes: Axes, trials: Sequence[Trial], size: str, **look) -> None:
    if trials:
        axes.plot(*_points(trials, size), markersize=5, linewidth=1.5, **look)


def _star(axes: Axes, experiment: Experiment, size: str, label: str) -> None:
    if experiment.dense and experiment.dense_quality is not None:
        axes.plot([experiment.dense[size]], [experiment.dense_quality], "*", color="#1f2933", ms=14, label=label)


def check_picture(file: Path) -> None:
    """Check that a picture can be drawn to a file.

    Raises:
        UserError: its ending is none that matplotlib knows, or it cannot be written.
    """
    if file.suffix.lstrip(".").lower() not in FigureCanvasBase.get_supported_filetypes():
        raise UserError(f"{file}: cannot draw a {file.suffix or 'file without an ending'}: use .png, .pdf or .svg")
    check_file(file)


def save(figure: Figure, axes: Axes, file: Path, title: str) -> Path:
    """Write a figure with a title and a legend, as its file's ending says.

    Raises:
        UserError: see :func:`check_picture`.
    """
    check_picture(file)
    axes.set_title(title)
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        many = len(labels) > 12
        axes.legend(ncols=1 + len(labels) // 13, fontsize="x-small" if many else "medium")
    file.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "autoprune"}):
        figure.savefig(file, dpi=150)
    return file
