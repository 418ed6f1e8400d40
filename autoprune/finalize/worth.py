"""What searching was worth: the chosen network beside one of equal sparsities, as large and trained as long."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace

from autoprune.finalize.fine_tuning import Loaded, fine_tune_all, is_complete, trials_of
from autoprune.prune.criteria import CRITERIA
from autoprune.prune.size_model import size_model
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.worth import Worth
from autoprune.trial.record import execute

FOLDER = "equal"
"""In the experiment's folder: a trial's folder for each network of equal sparsities that was compared."""

LEVELS = [i / 200 for i in range(200)]
"""The sparsities that are looked through."""


def worth_of(
    experiment: Experiment, loaded: Loaded, chosen: Trial, own: FineTuned, seeds: int, processes: int = 1
) -> Worth | None:
    """Carry out the rival of a chosen network and fine-tune it with as many seeds.

    Returns:
        None where nothing can be compared: no whole channels were removed, or not by sparsities of each group.

    Raises:
        TrialFailure: the rival cannot be carried through.
    """
    task, _, dense = loaded
    candidate = Candidate.from_parameters(chosen.parameters)
    if not candidate.sparsity or candidate.criterion not in CRITERIA or not CRITERIA[candidate.criterion].structured:
        return None
    measure = next((name for name in experiment.objectives if name in ("params", "macs")), "macs")
    sizes = size_model(dense.model, task.example, dense.groups, experiment.settings.round_to)
    by_level = {level: sizes.sizes(dict.fromkeys(candidate.sparsity, level))[measure] for level in LEVELS}
    level = _nearest(by_level, chosen.metrics[measure])
    equal = dict.fromkeys(candidate.sparsity, level)
    if not candidate.dropped and sizes.kept(equal) == sizes.kept(candidate.sparsity):
        return Worth(chosen, level, own, own, 1.0, measure)
    rival = replace(candidate, sparsity=equal, blocks=dict.fromkeys(candidate.blocks, 0))
    if candidate.parent is not None:
        rival = replace(rival, parent=_smallest_with(experiment, candidate, sizes.kept(equal), measure))
    elif candidate.budget is not None:
        rival = replace(rival, budget=0.0)
    trial = _run(experiment, loaded, rival)
    tuned = fine_tune_all(experiment, loaded, [trial], seeds, processes)[trial.id]
    return Worth(trial, level, tuned, own, trial.metrics[measure] / chosen.metrics[measure], measure)


def _smallest_with(experiment: Experiment, candidate: Candidate, kept: Mapping[str, int], measure: str) -> str | None:
    """Return the id of the smallest network that was trained as the chosen one was and has all that is kept."""
    found = []
    for trial in experiment.candidates:
        there = Candidate.from_parameters(trial.parameters)
        same = there.criterion == candidate.criterion and not there.dropped and is_complete(trial)
        theirs = trial.record.get("kept", {})
        if same and trial.model_file.is_file() and all(theirs.get(name, 0) >= n for name, n in kept.items()):
            found.append((trial.metrics[measure], trial.sequence, there.id))
    return min(found)[-1] if found else None


def _nearest(sizes: Mapping[float, float], wanted: float) -> float:
    """Return the level whose size is nearest, as a ratio; of equally near ones the larger network's."""
    return min(sizes, key=lambda level: (abs(math.log(sizes[level] / wanted)), level))


def _run(experiment: Experiment, loaded: Loaded, candidate: Candidate) -> Trial:
    """Return the trial of a candidate that the search's tuner did not propose, carried out now if it was not before."""
    folder = experiment.folder / FOLDER / candidate.id
    folder.mkdir(parents=True, exist_ok=True)
    now = int(time.time() * 1000)
    known = (f"{FOLDER}-{candidate.id}", 0, candidate.to_parameters(), "SUCCEEDED")
    trial = Trial(*known, {}, None, folder, now, now, metric=experiment.metric)
    metrics = trial.record.get("metrics") if trial.model_file.is_file() else None
    if not metrics:
        channels = {group.name: group.channels for group in loaded[2].groups}
        metrics = execute(
            experiment.settings, loaded, channels, candidate, folder, lambda quality: None, trials_of(experiment)
        )
    return replace(trial, metrics=metrics)
