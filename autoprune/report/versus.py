"""Two searches side by side, as plain values: both fronts, what they reach at like sizes, and both chosen networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from statistics import fmean
from typing import Any

from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.final import fine_tuned_of
from autoprune.report.rows import cell, name
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import SIZES, Measure, named
from autoprune.results.pareto import hypervolume, size_of

SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.025)
"""Parts of the dense model's size at which both fronts are compared."""


def versus(this: Experiment, other: Experiment) -> dict[str, Any]:
    """Return two searches side by side, each value in words, this one's first.

    What is the better front is said of one reference: this search's dense model, or the other's before there is one.
    The fronts themselves are told where both searches have one metric and the same objectives.

    Raises:
        UserError: a search has objectives or constraints that cannot be read.
    """
    both, is_alike = (this, other), this.metric == other.metric and set(this.objectives) == set(other.objectives)
    fronts = [each.front() for each in both]
    found: dict[str, Any] = {
        "id": other.id,
        "name": other.name,
        "alike": is_alike,
        "notes": _differences(this, other),
        "summary": [
            ["trials", *(each.counts for each in both)],
            ["on the front", *(str(len(front)) for front in fronts)],
            ["dense model", *(_dense_words(each) for each in both)],
            ["chosen network", *(_chosen(each) for each in both)],
        ],
        "sizes": [],
        "trials": [],
        "fronts": {},
    }
    dense = this.dense or other.dense
    if not is_alike or dense is None:
        return found
    size = _size(this)
    volumes = [f"{_volume(each, dense, size):.4f}" for each in both]
    found["summary"].insert(2, [f"hypervolume of {this.metric.noun} and {size.noun}", *volumes])
    measures = {this.metric.name: this.metric, **this.sizes}
    pairs = list(combinations_with_replacement([key for key in measures if key not in SIZES or key in other.sizes], 2))
    lines = {pair: other.front(pair) for pair in pairs}
    drawn = {trial.id: trial for line in lines.values() for trial in line}
    return found | {
        "size": size.noun,
        "sizes": _at_like_sizes(this.metric, fronts, dense, size),
        "trials": [
            {
                "id": trial.id,
                "name": f"{trial.sequence}: {name(other, trial)}",
                "measures": trial.measures,
                "texts": [cell(each, trial.measures.get(key), None).text for key, each in measures.items()],
            }
            for trial in drawn.values()
        ],
        "fronts": {" ".join(pair): [trial.id for trial in line] for pair, line in lines.items()},
    }


def _differences(this: Experiment, other: Experiment) -> list[str]:
    notes = []
    if this.metric != other.metric:
        judged = f"It is judged by {other.metric.noun}, this one by {this.metric.noun}"
        notes.append(f"{judged}: the fronts cannot be compared.")
    elif set(this.objectives) != set(other.objectives):
        searched = f"It searched for {_listed(other)}, this one for {_listed(this)}"
        notes.append(f"{searched}: the fronts are not compared.")
    tasks = [each.settings.task for each in (this, other)]
    if tasks[0] != tasks[1]:
        notes.append(f"It pruned {tasks[1]}, this one {tasks[0]}: what they reach does not compare.")
    elif this.dense and other.dense and any(this.dense[key] != other.dense.get(key) for key in ("params", "macs")):
        notes.append("Their dense models differ in size; shares and the hypervolume are of this search's.")
    return notes


def _size(experiment: Experiment) -> Measure:
    return SIZES[size_of(experiment.objectives, metric=experiment.metric)]


def _listed(experiment: Experiment) -> str:
    return " and ".join((named(key) or experiment.metric).noun for key in experiment.objectives)


def _dense_words(experiment: Experiment) -> str:
    if experiment.dense is None:
        return "not there yet"
    return _words(experiment.metric, _size(experiment), experiment.dense)


def _chosen(experiment: Experiment) -> str:
    """Return what would be taken home without a rule, or why nothing."""
    try:
        trial, reason = choose_trial(experiment, None)
    except UserError as error:
        return str(error)
    tuned = fine_tuned_of(experiment).get(trial.id)
    later = f", {experiment.metric.write(fmean(tuned.validation))} fine-tuned to the end" if tuned else ""
    return f"{trial.id} ({reason}): {_words(experiment.metric, _size(experiment), trial.measures)}{later}"


def _words(metric: Measure, size: Measure, measures: Mapping[str, float]) -> str:
    return f"{metric.write(measures[metric.name])} at {size.write(measures[size.name])} {size.noun}"


def _volume(experiment: Experiment, dense: Mapping[str, float], size: Measure) -> float:
    """Return the hypervolume of all candidates, see :func:`autoprune.report.progress.hypervolume_by_trial`."""
    metric = experiment.metric
    return hypervolume(
        (trial.measures[size.name] / dense[size.name], metric.gain(trial.quality, dense[metric.name]))
        for trial in experiment.candidates
    )


def _at_like_sizes(
    metric: Measure, fronts: Sequence[Sequence[Trial]], dense: Mapping[str, float], size: Measure
) -> list[list[str]]:
    """Return a row for each share of the dense size: it, the best that each front has there, and how far the other's
    is ahead.
    """
    rows = []
    for share in SHARES:
        limit = share * dense[size.name]
        small = [[trial for trial in front if trial.measures[size.name] <= limit] for front in fronts]
        best = [min(trials, key=lambda trial: metric.cost(trial.quality), default=None) for trials in small]
        said = [_words(metric, size, trial.measures) if trial else "-" for trial in best]
        ahead = metric.words(best[1].quality, best[0].quality) if best[0] and best[1] else "-"
        rows.append([f"{100 * share:.3g} % ({size.write(limit)})", *said, ahead])
    return [row for row in rows if row[1:3] != ["-", "-"]]
