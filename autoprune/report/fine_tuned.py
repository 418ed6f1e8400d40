"""The networks that were fine-tuned to the end, for people."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.results.experiment import Experiment


@dataclass(frozen=True)
class FineTunedRow:
    """One network, for people.

    Args:
        label: the trial's id, or ``dense``.
        search: the metric on validation data by which the search judged it.
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


def fine_tuned_rows(experiment: Experiment, final: Final | None = None) -> list[FineTunedRow]:
    """Return the recovered networks, in the front's order, below the dense model; nothing where there are none."""
    fine_tuned = fine_tuned_of(experiment, final)
    if not fine_tuned:
        return []
    rows, metric = [], experiment.metric
    if experiment.dense:
        test = final.dense_test_quality if final else None
        own = metric.write(experiment.dense[metric.name])
        rows.append(FineTunedRow("dense", "", own, "-" if test is None else metric.write(test), "", ""))
    order = [trial.id for trial in experiment.front() if trial.id in fine_tuned]
    for key in [*order, *(key for key in fine_tuned if key not in order)]:
        each = fine_tuned[key]
        unit = " %" if metric.is_share else ""
        spread = f"{metric.spread(each.validation)}{unit}", f"{metric.spread(each.test)}{unit}"
        steps = f"{each.steps:,}" if each.steps else "as in the search"
        rows.append(FineTunedRow(key, metric.write(each.before), *spread, str(len(each.validation)), steps))
    return rows
