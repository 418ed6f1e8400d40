"""Several searches side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.base.tables import Table
from autoprune.report.progress import hypervolume_by_trial
from autoprune.results import units
from autoprune.results.experiment import Experiment

SHARES = (0.5, 0.25, 0.1)
"""Fractions of the dense model's MACs at which searches are compared."""


@dataclass(frozen=True)
class Summary:
    """What one search came to.

    Args:
        id: NNI's experiment id.
        name: the experiment's name.
        task: what it pruned.
        tuner: who searched.
        trials: how many ended, well or not.
        failed: how many of them failed.
        front: how many are Pareto-optimal.
        dense: the dense model's metric, or None before the first result.
        best: the best metric among candidates of at most a share of the dense MACs, by share; None: none is so small.
        hypervolume: of the metric and MACs, see :func:`autoprune.report.progress.hypervolume_by_trial`.
        seconds: from the first trial's start to the last one's end, pauses included.
    """

    id: str
    name: str
    task: str
    tuner: str
    trials: int
    failed: int
    front: int
    dense: float | None
    best: dict[float, float | None]
    hypervolume: float | None
    seconds: float | None


def summarize(experiment: Experiment) -> Summary:
    """Return what a search came to so far."""
    tuner = experiment.config.get("tuner") or {}
    name = str(tuner.get("name") or tuner.get("className") or "none").rpartition(".")[2]
    sampler = (tuner.get("classArgs") or {}).get("sampler")
    starts = [trial.started for trial in experiment.trials if trial.started]
    ends = [trial.ended for trial in experiment.trials if trial.ended]
    volumes = hypervolume_by_trial(experiment, "macs")
    return Summary(
        id=experiment.id,
        name=experiment.name,
        task=experiment.settings.task,
        tuner=f"{name} {sampler}" if sampler else name,
        trials=len(ends),
        failed=len(experiment.failed),
        front=len(experiment.front()),
        dense=experiment.dense_quality,
        best={share: _best(experiment, share) for share in SHARES},
        hypervolume=volumes[-1] if volumes else None,
        seconds=(max(ends) - min(starts)) / 1000 if starts and ends else None,
    )


def comparison(experiments: Sequence[Experiment]) -> Table:
    """Return a table with a row for each search."""
    rows = [summarize(experiment) for experiment in experiments]
    metrics = dict.fromkeys(experiment.metric for experiment in experiments)
    quality = " or ".join(metric.noun for metric in metrics)
    notes = [f"best at: the best validation {quality} among candidates of at most that share of the dense model's MACs"]
    if len({row.task for row in rows}) > 1:
        plural = " or ".join(metric.plural for metric in metrics)
        notes.append(f"these searches pruned different tasks: their {plural} do not compare")
    figures = ("trials\n(failed)", "front", "time", f"dense\n{quality}")
    best = [f"best at\n{share:.0%} MACs" for share in SHARES]
    headings = ("experiment", "name", "task", "tuner", *figures, *best, "hyper-\nvolume")
    table = Table(*headings, left=("name", "task", "tuner"), wraps=("tuner", *figures, *best), caption="\n".join(notes))
    for row, experiment in zip(rows, experiments, strict=True):
        cells = [f"{row.trials} ({row.failed})", str(row.front), _or_dash(row.seconds, units.duration)]
        cells += [_or_dash(value, experiment.metric.write) for value in (row.dense, *row.best.values())]
        volume = _or_dash(row.hypervolume, lambda value: f"{value:.4f}")
        table.add_row(row.id, row.name, row.task, row.tuner, *cells, volume)
    return table


def _best(experiment: Experiment, share: float) -> float | None:
    if experiment.dense is None:
        return None
    limit = share * experiment.dense["macs"]
    small = [t.quality for t in experiment.candidates if t.measures["macs"] <= limit]
    return min(small, key=experiment.metric.cost, default=None)


def _or_dash(value, write) -> str:
    return "-" if value is None else write(value)
