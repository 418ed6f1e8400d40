"""How an agent learned, as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autoprune.report.learning import Episode, smoothed
from autoprune.report.plots import INK, style
from autoprune.results.measures import METRIC, Measure


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
