"""The benchmark's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from measures import SMALLEST, at_times, best_at, volume_over_time
from methods import LABELS
from results import Record

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

SIZES = {"macs": "MACs", "params": "parameters"}
COLOURS = {
    "nni_recipe": "#7f7f7f",
    "random": "#bcbd22",
    "nsga2": "#2ca02c",
    "tpe": "#17becf",
    "amc": "#9467bd",
    "uniform": "#8c564b",
    "uniform_shared": "#1f77b4",
    "autoprune": "#d62728",
    "uniform_6": "#8c564b",
    "chain_1": "#98df8a",
    "chain_2": "#2ca02c",
    "chain_3": "#006d2c",
    "tpe_6": "#17becf",
    "nni_recipe_6": "#7f7f7f",
}


def hypervolume_over_time(by_method: Mapping[str, Sequence[Record]], title: str, file: Path) -> None:
    """Plot the median hypervolume over time, the quartiles as bands, for MACs and for parameters."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for panel, (size, label) in zip(panels, SIZES.items(), strict=True):
        for method, records in by_method.items():
            times = np.linspace(0, records[0]["budget"], 400)
            values = np.array([at_times(volume_over_time(record, size), times) for record in records])
            _line(panel, method, times, values)
        panel.set(xlabel="CPU seconds", title=f"accuracy against log {label}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("hypervolume (validation)")
    panels[1].legend(fontsize=8, loc="lower right")
    figure.suptitle(title)
    _save(figure, file)


def fronts(by_method: Mapping[str, Sequence[Record]], title: str, file: Path) -> None:
    """Plot the test accuracy of the best network within each size, median and quartiles over the seeds."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    shares = np.geomspace(1, SMALLEST, 60)
    for panel, (size, label) in zip(panels, SIZES.items(), strict=True):
        for method, records in by_method.items():
            values = np.array([[best_at(record, share, size) for share in shares] for record in records])
            _line(panel, method, shares, np.where(np.isnan(values).any(0), np.nan, values))
            dense = records[0]["dense"]["test"]
        panel.axhline(dense, color="black", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", xlabel=f"share of the dense {label}", ylim=(dense - 0.2, dense + 0.02))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (dotted: dense)")
    panels[1].legend(fontsize=8, loc="lower right")
    figure.suptitle(title)
    _save(figure, file)


def _line(panel, method: str, x: np.ndarray, values: np.ndarray) -> None:
    """Plot the median of values of shape (runs, points) over ``x``, with their quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    width = 2.2 if method == "autoprune" else 1.2
    panel.plot(x, middle, label=LABELS[method], color=COLOURS.get(method, "#999999"), linewidth=width)
    panel.fill_between(x, low, high, color=COLOURS.get(method, "#999999"), alpha=0.12, linewidth=0)


def _save(figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)
