"""What searching was worth: the chosen network beside one of equal sparsities, as large and trained as long."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace

from autoprune.finalize.fine_tuning import Loaded, fine_tune_all
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
    rival = replace(
        candidate,
        sparsity=equal,
        blocks=dict.fromkeys(candidate.blocks, 0),
        budget=None if candidate.budget is None else 0.0,
        parent=None,
    )
    trial = _run(experiment, loaded, rival)
    tuned = fine_tune_all(experiment, loaded, [trial], seeds, processes)[trial.id]
    return Worth(trial, level, tuned, own, trial.metrics[measure] / chosen.metrics[measure], measure)


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
        metrics = execute(experiment.settings, loaded, channels, candidate, folder, lambda quality: None)
    return replace(trial, metrics=metrics)
