"""What a network that the search judged on a small budget is cut from, and how long it is trained, to be taken home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autoprune.prune.schedules import SCHEDULES
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.pareto import size_of


def on_supernet_weights(trial: Trial) -> bool:
    """Return whether a trial took its weights from the recovery that all candidates share."""
    return SCHEDULES[trial.parameters.get("schedule", Candidate.schedule)].retrain == "supernet"


def is_complete(trial: Trial) -> bool:
    """Return whether a trial was recovered with the whole budget."""
    budget = trial.parameters.get("budget")
    return (budget or 0) >= 1 or (budget is None and not on_supernet_weights(trial))


def trials_of(experiment: Experiment) -> Path:
    """Return the folder that holds the folders of a search's trials, of which there is one at least."""
    return experiment.trials[0].folder.parent


def in_full(experiment: Experiment, trial: Trial) -> Candidate:
    """Return a trial's candidate as it is trained to the end: like those that the search trained in full.

    Of a search whose trained networks form a chain, it is cut from the smallest of them that has all that it keeps, and
    trained as long as they were.
    """
    candidate = Candidate.from_parameters(trial.parameters)
    if is_complete(trial):
        return replace(candidate, budget=max(1.0, candidate.budget or 0.0))
    trained = [each for each in experiment.candidates if is_complete(each) and on_supernet_weights(each)]
    longest = max((each.parameters["budget"] for each in trained if each.parameters.get("budget")), default=1.0)
    if not on_supernet_weights(trial) or longest <= 1:
        return replace(candidate, budget=1.0)
    parent = None if candidate.dropped else _smallest_with(experiment, candidate, trial.record.get("kept", {}), trained)
    return replace(candidate, budget=float(longest), parent=parent)


def _smallest_with(
    experiment: Experiment, candidate: Candidate, kept: Mapping[str, int], trained: list[Trial]
) -> str | None:
    """Return the id of the smallest trained network that has all that is kept; None if there is none."""
    size = size_of(experiment.objectives, metric=experiment.metric)
    found = []
    for trial in trained:
        there, theirs = Candidate.from_parameters(trial.parameters), trial.record.get("kept", {})
        same = there.criterion == candidate.criterion and not there.dropped and trial.model_file.is_file()
        if same and kept and all(theirs.get(name, 0) >= n for name, n in kept.items()):
            found.append((trial.measures[size], trial.sequence, there.id))
    return min(found)[-1] if found else None
