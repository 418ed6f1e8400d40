"""The networks of the front that were fine-tuned to the end: how good they really are, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoprune.base.files import write_text
from autoprune.finalize.final import Final, Recovered
from autoprune.results import units
from autoprune.results.experiment import Experiment
from autoprune.trial.record import read_object

FILE = "recovered.json"
"""In the experiment's folder."""


@dataclass(frozen=True)
class RecoveredRow:
    """One network, for people.

    Args:
        label: the trial's id, or ``dense``.
        search: the validation accuracy by which the search judged it.
        validation: after fine-tuning, mean and standard deviation over the seeds.
        test: the same on the test split.
        seeds: how many there were.
        steps: optimiser steps of each fine-tuning, or that it is the search's own over again.
    """

    label: str
    search: str
    validation: str
    test: str
    seeds: str
    steps: str


def write_recovered(experiment: Experiment, recovered: Mapping[str, Recovered]) -> Path:
    """Keep what the end of a search found, for ``autoprune pareto`` and ``autoprune report`` after it."""
    file = experiment.folder / FILE
    content = {key: asdict(each) | {"file": str(each.file)} for key, each in recovered.items()}
    write_text(file, json.dumps(content, indent=1) + "\n")
    return file


def recovered_of(experiment: Experiment, final: Final | None = None) -> dict[str, Recovered]:
    """Return the front's networks that were fine-tuned to the end, by trial id; none before the end of a search."""
    if final and final.recovered:
        return final.recovered
    return read_recovered(experiment.folder)[0]


def read_recovered(folder: Path) -> tuple[dict[str, Recovered], str | None]:
    """Return what :func:`write_recovered` wrote into an experiment's folder, and what is damaged about it, if anything.

    A damaged file counts as none: the fine-tunings' own files are still there.
    """
    content, damage = read_object(folder / FILE)
    try:
        return {key: _recovered(each) for key, each in content.items()}, damage
    except (TypeError, KeyError, ValueError):
        return {}, f"{FILE} does not hold what AutoPrune wrote"


def _recovered(each: Mapping[str, Any]) -> Recovered:
    accuracies = (tuple(map(float, each[name])) for name in ("validation", "test"))
    return Recovered(each["before"], *accuracies, Path(each["file"]), each["steps"], tuple(each.get("failures", ())))


def recovered_rows(experiment: Experiment, final: Final | None = None) -> list[RecoveredRow]:
    """Return the recovered networks, in the front's order, below the dense model; nothing where there are none."""
    recovered = recovered_of(experiment, final)
    if not recovered:
        return []
    rows = []
    if experiment.dense:
        test = final.dense_test_accuracy if final else None
        accuracy = units.percent(experiment.dense["accuracy"])
        rows.append(RecoveredRow("dense", "", accuracy, "-" if test is None else units.percent(test), "", ""))
    order = [trial.id for trial in experiment.front() if trial.id in recovered]
    for key in [*order, *(key for key in recovered if key not in order)]:
        each = recovered[key]
        spread = f"{units.spread(each.validation)} %", f"{units.spread(each.test)} %"
        steps = f"{each.steps:,}" if each.steps else "as in the search"
        rows.append(RecoveredRow(key, units.percent(each.before), *spread, str(len(each.validation)), steps))
    return rows


def recovered_values(each: Recovered) -> dict[str, float]:
    """Return means and standard deviations over the seeds (0 for a single one), as plain numbers in [0, 1]."""
    return {
        "validation": fmean(each.validation),
        "validation_std": _std(each.validation),
        "test": fmean(each.test),
        "test_std": _std(each.test),
        "seeds": len(each.validation),
    }


def _std(values: tuple[float, ...]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
