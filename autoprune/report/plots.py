"""The page's figures, in plotly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from autoprune.report.kept import channels, kept
from autoprune.report.progress import hypervolume_by_trial
from autoprune.report.rows import method
from autoprune.results.candidate import BLOCK_PREFIX, PREFIX
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import SIZES, Measure
from autoprune.results.pareto import size_of

BLUE, GREY, INK, RED = "#0b5cad", "#9aa5b1", "#1f2933", "#c8371b"
BASELINE_COLORS = ("#d98200", "#00856a", "#7a4fa3", "#8a6d3b")
DEEPEST_DROP = 0.15
"""The metric's axis starts at this drop from the dense model at most, so that a few ruins do not flatten the rest."""


def pareto_plot(experiment: Experiment, size: str = "macs", chosen: Trial | None = None) -> go.Figure:
    """Plot the metric against a size (log scale): all candidates, the front, the dense model and the baselines.

    The line joins the candidates that no other beats in both of these two measures.

    Args:
        size: a measure in :data:`autoprune.results.measures.SIZES`.
        chosen: is ringed.
    """
    figure, metric = go.Figure(), experiment.metric
    _scatter(figure, "candidates", experiment.candidates, size, marker={"color": GREY, "size": 7, "opacity": 0.45})
    for (name, trials), color in zip(experiment.baselines.items(), cycle(BASELINE_COLORS), strict=False):
        _baseline_curve(figure, experiment, name, trials, size, color)
    front = sorted(experiment.front((metric.name, size)), key=lambda trial: trial.measures[size])
    look: dict[str, Any] = {
        "mode": "lines+markers",
        "line": {"color": BLUE, "width": 2},
        "marker": {"color": BLUE, "size": 9},
    }
    _scatter(figure, "Pareto front", front, size, **look)
    if chosen:
        ring = {"symbol": "circle-open", "color": RED, "size": 20, "line": {"width": 3}}
        _scatter(figure, "chosen", [chosen], size, marker=ring)
    if experiment.dense:
        star = {"symbol": "star", "color": INK, "size": 15}
        hover = "dense model<br>" + _measures(metric, experiment.dense)
        point = {"x": [experiment.dense[size]], "y": [experiment.dense_quality], "hovertext": [hover]}
        figure.add_scatter(**point, name="dense model", mode="markers", marker=star, hoverinfo="text")
    style(figure, 460)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"})
    figure.update_xaxes(title_text=f"{SIZES[size].title} (log scale)", type="log", **_log_ticks(figure, SIZES[size]))
    figure.update_yaxes(
        title_text=f"{metric.noun} on validation", tickformat=metric.ticks, range=_shown_range(experiment)
    )
    return figure


def progress_plot(experiment: Experiment) -> go.Figure:
    """Plot the hypervolume of the front over the candidates that have finished."""
    size = size_of(experiment.objectives, metric=experiment.metric)
    values = hypervolume_by_trial(experiment, size)
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(1, len(values) + 1)),
        y=values,
        mode="lines+markers",
        line={"color": BLUE, "shape": "hv"},
        marker={"size": 5},
        hovertemplate="after %{x} candidates: %{y:.4f}<extra></extra>",
    )
    style(figure, 300)
    figure.update_xaxes(title_text="candidates finished", rangemode="tozero")
    figure.update_yaxes(title_text=f"hypervolume ({experiment.metric.noun}, {SIZES[size].title})")
    return figure


def kept_plot(experiment: Experiment, front: Sequence[Trial]) -> go.Figure | None:
    """Plot what each trial keeps of each coupled group: a row for each trial, the groups in the network's order.

    Returns None where the front is empty or the dense model's channels are not known.

    It shows the fraction of channels kept, or, for a trial that set single weights to zero, of weights.
    """
    groups = channels(experiment)
    if not groups or not front:
        return None
    cells = [[kept(experiment, trial, name, total) for name, total in groups.items()] for trial in front]
    few = len(groups) <= 12
    figure = go.Figure(
        go.Heatmap(
            x=[escape(name) for name in groups],
            y=[f"{escape(trial.id)}  {trial.metric.write(trial.quality)}" for trial in front],
            z=[[fraction for fraction, _ in row] for row in cells],
            text=[[text for _, text in row] for row in cells],
            texttemplate="%{text}" if few else None,
            zmin=0,
            zmax=1,
            colorscale=[(0, "#f7fafd"), (1, "#7db3e8")],
            textfont={"color": INK},
            colorbar={"title": {"text": "kept"}, "tickformat": ".0%", "thickness": 12},
            showscale=not few,
            hovertemplate="trial %{y}<br>group %{x}<br>kept %{z:.0%} (%{text})<extra></extra>",
            xgap=2,
            ygap=2,
        )
    )
    style(figure, 130 + 30 * max(2, len(front)))
    figure.update_xaxes(title_text="coupled group, in the network's order", type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def _scatter(figure: go.Figure, name: str, trials: Sequence[Trial], size: str, mode: str = "markers", **look) -> None:
    if trials:
        figure.add_scatter(
            x=[trial.measures[size] for trial in trials],
            y=[trial.quality for trial in trials],
            hovertext=[_hover(trial) for trial in trials],
            hoverinfo="text",
            name=name,
            mode=mode,
            **look,
        )


def _baseline_curve(
    figure: go.Figure, experiment: Experiment, name: str, trials: Sequence[Trial], size: str, color: str
) -> None:
    ordered = sorted(trials, key=lambda trial: trial.measures["params"])
    points = [(t.measures[size], t.quality, _hover(t)) for t in ordered]
    if experiment.dense and experiment.dense_quality is not None:
        points.append((experiment.dense[size], experiment.dense_quality, "dense model"))
    xs, ys, hover = zip(*points, strict=True)
    look = {"line": {"color": color, "dash": "dot", "width": 1.5}, "marker": {"color": color, "symbol": "diamond"}}
    hovering = {"hovertext": hover, "hoverinfo": "text"}
    figure.add_scatter(x=xs, y=ys, name=f"baseline {escape(name)}", mode="lines+markers", **look, **hovering)


def _hover(trial: Trial) -> str:
    lines = [f"<b>trial {escape(trial.id)}</b>, number {trial.sequence}: {escape(method(trial))}"]
    lines += [_measures(trial.metric, trial.measures), *_wrapped(trial.parameters.items())]
    return "<br>".join(lines)


def _measures(metric: Measure, measures: dict[str, float]) -> str:
    sizes = [f"{size.title}: {size.write(measures[name])}" for name, size in SIZES.items() if name in measures]
    return "<br>".join([f"{metric.noun}: {metric.write(measures[metric.name])}", *sizes])


def _wrapped(parameters: Iterable[tuple[str, Any]], most: int = 24) -> list[str]:
    sparsities = [
        (name, value) for name, value in parameters if name.startswith((PREFIX, BLOCK_PREFIX)) or name == "sparsity"
    ]
    lines = [f"{escape(name)}: {escape(str(value))}" for name, value in sparsities[:most]]
    return lines + ([f"and {len(sparsities) - most} more"] if len(sparsities) > most else [])


def _shown_range(experiment: Experiment) -> list[float] | None:
    metric, dense = experiment.metric, experiment.dense_quality
    shown = [trial.quality for trial in experiment.trials if trial.succeeded]
    if dense is not None:
        deepest = metric.after_drop(dense, DEEPEST_DROP)
        shown = [dense, *(min(value, deepest, key=metric.cost) for value in shown)]
    if not shown:
        return None
    least = 0.002 if metric.is_share else 0.002 * max(map(abs, shown))
    margin = max(0.08 * (max(shown) - min(shown)), least)
    return [min(shown) - margin, max(shown) + margin]


def _log_ticks(figure: go.Figure, size: Measure) -> dict[str, Any]:
    """Return ticks at 1, 2 and 5 times the powers of ten, thinned to whole decades where there are many."""
    values = [value for trace in figure.data for value in trace.x if value]
    if not values:
        return {}
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    steps = (1, 2, 5) if len(decades) <= 5 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": ticks, "ticktext": [re.sub(r"\.0+ ", " ", size.write(tick)) for tick in ticks]}


def style(figure: go.Figure, height: int) -> None:
    """Give a figure the look of the page."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
        showlegend=len(figure.data) > 1,
    )
    axis = {"automargin": True, "linecolor": "#cbd2d9", "title": {"font": {"size": 13}}}
    figure.update_layout(xaxis=axis, yaxis=axis)
