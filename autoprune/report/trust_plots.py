"""The page's figures beside the front's: what the search knew before, how far to trust it, how an agent learned."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autoprune.report.fidelity import Agreement
from autoprune.report.learning import Episode, smoothed
from autoprune.report.plots import BASELINE_COLORS, BLUE, GREY, INK, style
from autoprune.report.sensitivity import Curves
from autoprune.results.measures import METRIC, Measure


def sensitivity_plot(curves: Curves, metric: Measure = METRIC) -> go.Figure:
    """Plot the metric against the part of each group that was removed alone."""
    figure = go.Figure()
    for group, curve in curves.items():
        xs, ys = zip(*curve, strict=True)
        hover = f"{escape(group)}<br>%{{x:.0%}} removed: %{{y:{_hover(metric)}}}<extra></extra>"
        figure.add_scatter(x=xs, y=ys, name=escape(group), mode="lines+markers", hovertemplate=hover)
    style(figure, 420)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"}, showlegend=True)
    figure.update_xaxes(title_text="removed of this group alone", tickformat=".0%")
    figure.update_yaxes(title_text=f"{metric.noun} on validation", tickformat=metric.ticks)
    return figure


def agreement_plot(found: Sequence[Agreement], metric: Measure = METRIC) -> go.Figure:
    """Plot the later judgement of each network against the early one; on the diagonal nothing changed."""
    figure, form = go.Figure(), _hover(metric)
    for agreement, color in zip(found, (BLUE, *BASELINE_COLORS), strict=False):
        early, later = zip(*agreement.pairs, strict=True)
        figure.add_scatter(
            x=early,
            y=later,
            name=f"{agreement.early} → {agreement.later}",
            mode="markers",
            marker={"color": color, "size": 9, "opacity": 0.7},
            hovertext=[f"trial {escape(name)}" for name in agreement.networks],
            hovertemplate=f"%{{hovertext}}<br>early %{{x:{form}}}, later %{{y:{form}}}<extra></extra>",
        )
    values = [value for agreement in found for pair in agreement.pairs for value in pair]
    ends = [min(values), max(values)]
    line = {"color": GREY, "dash": "dot", "width": 1}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", name="the same")
    style(figure, 420)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"})
    figure.update_xaxes(title_text=f"{metric.noun} by the early judgement", tickformat=metric.ticks)
    figure.update_yaxes(title_text=f"{metric.noun} by the later one", tickformat=metric.ticks)
    return figure


def _hover(metric: Measure) -> str:
    return ".2%" if metric.is_share else ".4~g"


def learning_plot(episodes: Sequence[Episode], metric: Measure = METRIC) -> go.Figure:
    """Plot an agent's reward and metric over its episodes, coloured by the target; open points acted at random."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, name in enumerate(("reward", "quality"), start=1):
        noun = metric.noun if name == "quality" else name
        known = [each for each in episodes if getattr(each, name) is not None]
        numbers, values = [each.episode for each in known], [getattr(each, name) for each in known]
        marker = {"size": 8, "symbol": ["circle-open" if each.random else "circle" for each in known]}
        targets = [each.target for each in known]
        if targets and None not in targets:
            bar = {"title": {"text": "target"}, "tickformat": ".0%", "thickness": 12}
            marker |= {"color": targets, "colorscale": "Viridis", "showscale": row == 1, "colorbar": bar}
        texts = ["" if each.target is None else f"<br>target {each.target:.0%}" for each in known]
        hover = f"episode %{{x}}<br>{noun} %{{y:.4f}}%{{text}}<extra></extra>"
        look = {"mode": "markers", "marker": marker, "text": texts, "hovertemplate": hover}
        figure.add_scatter(x=numbers, y=values, row=row, col=1, **look)
        mean = {"mode": "lines", "line": {"color": INK, "width": 1.5}, "hoverinfo": "skip"}
        figure.add_scatter(x=numbers, y=smoothed(values), row=row, col=1, **mean)
        figure.update_yaxes(title_text=noun, row=row, col=1)
    style(figure, 520)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="episode", row=2, col=1)
    return figure
