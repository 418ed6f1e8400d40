"""What trials keep of each coupled group."""

from __future__ import annotations

from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial


def channels(experiment: Experiment) -> dict[str, int]:
    """Return each group's channels in the dense model: as a trial recorded them, or as a trial that removed none."""
    succeeded = [trial for trial in experiment.trials if trial.succeeded]
    recorded = next((channels for trial in succeeded if (channels := trial.record.get("channels"))), None)
    if recorded is not None:
        return dict(recorded)
    sparse = (trial for trial in succeeded if is_sparse(experiment, trial))
    return next((dict(kept) for trial in sparse if (kept := trial.record.get("kept"))), {})


def is_sparse(experiment: Experiment, trial: Trial) -> bool:
    """Say whether a trial set single weights to zero and removed no channel."""
    dense, measures = experiment.dense or trial.measures, trial.measures
    return measures["macs"] == dense["macs"] and measures["params"] < dense["params"]


def kept(experiment: Experiment, trial: Trial, group: str, total: int) -> tuple[float | None, str]:
    """Return which fraction of a group's ``total`` channels (of a sparse network, weights) stays, and that in words."""
    if is_sparse(experiment, trial):
        candidate = Candidate.from_parameters(trial.parameters).spread(trial.record.get("kinds", {}))
        weights = 1 - candidate.of(group)
        return weights, f"{weights:.0%} of weights"
    left = trial.record.get("kept", {}).get(group)
    return (None, "") if left is None else (left / total, f"{left}/{total}")
