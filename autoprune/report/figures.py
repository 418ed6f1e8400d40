"""Figures that the report and the page in the browser share: plotly's traces and axes, without a look.

What stands around them (fonts, grid, background) each page adds in its own colours, so that the ones here must be seen
on light and on dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from autoprune.report.fidelity import Agreement
from autoprune.report.importance import Importances
from autoprune.report.sensitivity import Curves, is_many, lost_by_sparsity
from autoprune.results.measures import METRIC, Measure

Figure = dict[str, Any]
"""``data`` and ``layout`` as plotly has them, ``height`` in pixels, and in ``about`` what a screen reader says."""

BLUE, GREY, ORANGE, GREEN, RED, VIOLET = "#3d8bd4", "#8f9ba8", "#d98200", "#1f9d7c", "#d9534f", "#9a6fd0"
LINES = (BLUE, ORANGE, GREEN, VIOLET, RED, "#8a6d3b", "#d667a8", "#5f7a99", "#4db6c6", "#a3a533")
FIFTHS = ("#d98200", "#c99f62", "#8f9ba8", "#6f9cc4", "#3d8bd4")
"""From the worst to the best."""

MOST_BARS, LEAST_SHARE = 20, 0.005
"""Parameters that have bars, and the share below which none has one, but for the first few."""


def barred(found: Importances) -> list[str]:
    """Return the parameters that have bars, the most important first."""
    shares = found.at_equal_size.shares
    worth = [
        name for i, name in enumerate(shares) if i < 5 or max(shares[name], found.of_metric.shares[name]) >= LEAST_SHARE
    ]
    return worth[:MOST_BARS]


def importance_figure(found: Importances, metric: Measure, titles: Mapping[str, str]) -> Figure:
    """Draw what mattered, a pair of bars for each parameter, the most important at the top.

    Args:
        titles: of the parameters, for people.
    """
    names = barred(found)
    labels = [escape(titles[name]) for name in names]
    data: list[dict[str, Any]] = []
    kinds = (("at equal size", found.at_equal_size, BLUE), (f"{metric.noun} as it is", found.of_metric, GREY))
    for title, importance, color in kinds:
        look = {"type": "bar", "orientation": "h", "marker": {"color": color}, "name": escape(title)}
        hover = f"%{{y}}<br>{escape(title)}: %{{x:.1%}}<extra></extra>"
        data.append({**look, "x": [importance.shares[name] for name in names], "y": labels, "hovertemplate": hover})
    chance = found.at_equal_size.chance
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "line": {"color": RED, "dash": "dot", "width": 2}}
    ends = {"x": [chance, chance], "y": [labels[0], labels[-1]]} if len(labels) > 1 else {"x": [chance], "y": labels}
    data.append({**line, **ends, "name": "as much by chance, at equal size", "hoverinfo": "skip"})
    layout = {
        "xaxis": {"title": _axis_title("share of the differences"), "tickformat": ".0%", "rangemode": "tozero"},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "bargap": 0.3,
    }
    about = ", ".join(f"{titles[name]} {share:.0%}" for name, share in list(found.at_equal_size.shares.items())[:5])
    return {"data": data, "layout": layout, "height": 130 + 36 * len(names), "about": f"At equal size: {about}"}


def parallel_figure(
    axes: Mapping[str, Sequence[Any]], texts: Mapping[str, Sequence[str]], ranks: Sequence[float], names: Sequence[str]
) -> Figure:
    """Draw each candidate as a line across an axis for each parameter, and for its measures.

    Args:
        axes: the candidates' values by the axis's title; words and numbers.
        texts: the values of the same axes, for people.
        ranks: by which lines are coloured, in fifths; the greatest is the best.
        names: of the candidates.
    """
    heights, ticks = {}, []
    for i, (title, values) in enumerate(axes.items()):
        heights[title], ends = _on_axis(values, texts[title])
        ticks += [
            {"x": i, "y": y, "text": escape(text), "showarrow": False, "font": {"size": 11}, "yshift": 10 if y else -10}
            for y, text in ends
        ]
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    data = []
    for fifth, color in enumerate(FIFTHS):
        members = order[len(order) * fifth // 5 : len(order) * (fifth + 1) // 5]
        xs: list[Any] = []
        ys: list[Any] = []
        hover: list[Any] = []
        for member in members:
            xs += [*range(len(axes)), None]
            ys += [*(heights[title][member] for title in axes), None]
            hover += [*(f"{escape(names[member])}<br>{escape(t)}: {escape(texts[t][member])}" for t in axes), None]
        place = {0: "worst fifth", 2: "middle", 4: "best fifth"}.get(fifth, f"fifth {fifth + 1} of 5")
        line = {"color": color, "width": 1.6 if fifth == 4 else 1}
        look = {
            "type": "scatter",
            "mode": "lines",
            "line": line,
            "opacity": 0.85 if fifth == 4 else 0.45,
            "name": place,
        }
        data.append({**look, "x": xs, "y": ys, "text": hover, "hoverinfo": "text"})
    titles = [escape(title) for title in axes]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": titles,
            "range": [-0.3, len(axes) - 0.7],
            "showgrid": True,
        },
        "yaxis": {"visible": False, "range": [-0.12, 1.12]},
        "annotations": ticks,
        "legend": {"orientation": "h", "y": 1.06, "yanchor": "bottom", "x": 0, "traceorder": "reversed"},
        "hovermode": "closest",
    }
    about = f"{len(names)} candidates across {', '.join(axes)}"
    return {"data": data, "layout": layout, "height": 440, "about": about, "least": max(340, 78 * len(axes))}


def _on_axis(values: Sequence[Any], texts: Sequence[str]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return where values lie on an axis from 0 to 1, and the texts at its ends, of words at all of them."""
    if all(isinstance(value, int | float) for value in values):
        low, high = min(values), max(values)
        ends = [(0.0, texts[values.index(low)]), (1.0, texts[values.index(high)])]
        return [(value - low) / (high - low) if high > low else 0.5 for value in values], ends
    words = sorted(set(map(str, values)))
    places = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
    return [places[str(value)] for value in values], [(places[word], word) for word in words]


def slice_figure(
    title: str,
    values: Sequence[Any],
    qualities: Sequence[float],
    sizes: Sequence[float],
    names: Sequence[str],
    metric: Measure,
    shown: Sequence[float] | None,
) -> Figure:
    """Draw the metric of each candidate against one of its parameters; the colour is its size.

    Args:
        sizes: of the candidates, as shares of the dense model's.
        shown: the metric's axis from and to.
    """
    numbers = all(isinstance(value, int | float) for value in values)
    marker = {
        "color": [math.log(max(size, 1e-9)) for size in sizes],
        "colorscale": [[0, ORANGE], [0.5, "#a8a39a"], [1, BLUE]],
        "size": 7,
        "opacity": 0.8,
    }
    hover = f"%{{text}}<br>{escape(title)}: %{{x}}<br>{metric.noun}: %{{y:{_form(metric)}}}<extra></extra>"
    points = {"x": [value if numbers else escape(str(value)) for value in values], "y": list(qualities)}
    texts = [f"{escape(name)}, {size:.0%} of the dense size" for name, size in zip(names, sizes, strict=True)]
    data = [{"type": "scatter", "mode": "markers", "marker": marker, "text": texts, "hovertemplate": hover, **points}]
    xaxis = {
        "title": _axis_title(escape(title)),
        **({"tickformat": ".0%", "dtick": 0.25} if numbers else {"type": "category"}),
    }
    yaxis = {"tickformat": metric.ticks, **({"range": list(shown)} if shown else {})}
    about = f"{metric.noun} against {title}"
    layout = {"xaxis": xaxis, "yaxis": yaxis, "showlegend": False}
    return {"data": data, "layout": layout, "height": 230, "about": about}


def sensitivity_figure(curves: Curves, metric: Measure = METRIC) -> Figure:
    """Draw the metric against the part of each group that was removed alone: lines, or a heat map of many groups."""
    return _sensitivity_map(curves, metric) if is_many(curves) else _sensitivity_lines(curves, metric)


def _sensitivity_lines(curves: Curves, metric: Measure) -> Figure:
    data = []
    for (group, curve), color in zip(curves.items(), LINES, strict=False):
        hover = f"{escape(group)}<br>%{{x:.0%}} removed: %{{y:{_form(metric)}}}<extra></extra>"
        points = {"x": [sparsity for sparsity, _ in curve], "y": [value for _, value in curve]}
        look = {"type": "scatter", "mode": "lines+markers", "line": {"color": color}, "name": escape(group)}
        data.append({**look, **points, "hovertemplate": hover})
    layout = {
        "xaxis": {"title": _axis_title("removed of this group alone"), "tickformat": ".0%"},
        "yaxis": {"title": _axis_title(f"{metric.noun} on validation"), "tickformat": metric.ticks},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
        "showlegend": True,
    }
    return {"data": data, "layout": layout, "height": 420, "about": f"a line for each of {len(curves)} groups"}


def _sensitivity_map(curves: Curves, metric: Measure) -> Figure:
    columns, changes = lost_by_sparsity(curves)
    texts = [["" if each is None else metric.difference(each) for each in row] for row in changes.values()]
    cost = [[None if each is None else metric.cost(each) for each in row] for row in changes.values()]
    unit = 100 if metric.is_share else 1
    trace = {
        "type": "heatmap",
        "x": [f"{column:.0%}" for column in columns],
        "y": [escape(group) for group in changes],
        "z": [[None if each is None else max(0.0, each * unit) for each in row] for row in cost],
        "text": texts,
        "texttemplate": "%{text}",
        "colorscale": [[0, "#e9eef3"], [0.5, "#e9a94f"], [1, "#b3402a"]],
        "zmin": 0,
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"title": {"text": "lost"}, "thickness": 12},
        "hovertemplate": f"%{{y}}<br>%{{x}} removed: %{{text}}{' points' if metric.is_share else ''}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": _axis_title("removed of this group alone"), "type": "category", "showgrid": False},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
    }
    return {
        "data": [trace],
        "layout": layout,
        "height": 100 + 22 * len(curves),
        "about": f"{len(curves)} groups, a row each",
    }


def agreement_figure(found: Sequence[Agreement], metric: Measure = METRIC) -> Figure:
    """Draw the later judgement of each network against the early one; on the diagonal nothing changed."""
    data, form = [], _form(metric)
    for agreement, color in zip(found, LINES, strict=False):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [early for early, _ in agreement.pairs],
                "y": [later for _, later in agreement.pairs],
                "name": f"{agreement.early} → {agreement.later}",
                "marker": {"color": color, "size": 9, "opacity": 0.7},
                "text": [f"trial {escape(name)}" for name in agreement.networks],
                "hovertemplate": f"%{{text}}<br>early %{{x:{form}}}, later %{{y:{form}}}<extra></extra>",
            }
        )
    values = [value for agreement in found for pair in agreement.pairs for value in pair]
    ends = [min(values), max(values)]
    line = {"type": "scatter", "mode": "lines", "line": {"color": GREY, "dash": "dot", "width": 1}}
    data.append({**line, "x": ends, "y": ends, "hoverinfo": "skip", "name": "the same"})
    layout = {
        "xaxis": {"title": _axis_title(f"{metric.noun} by the early judgement"), "tickformat": metric.ticks},
        "yaxis": {"title": _axis_title(f"{metric.noun} by the later one"), "tickformat": metric.ticks},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
    }
    about = f"{sum(len(agreement.pairs) for agreement in found)} networks judged twice"
    return {"data": data, "layout": layout, "height": 420, "about": about}


def _axis_title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 13}}


def _form(metric: Measure) -> str:
    return ".2%" if metric.is_share else ".4~g"
