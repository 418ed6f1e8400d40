"""Noticing, while a search runs, that networks are trained far too shortly after they were pruned."""

from __future__ import annotations

from autoprune.results.baselines import DENSE
from autoprune.results.candidate import schedule_of
from autoprune.results.experiment import Experiment, Trial

LIGHT = 0.4
"""The part of the dense model's parameters that a lightly pruned network has at least."""

MOST = 0.5
"""The part of what the dense model is worth (:meth:`.Measure.gain`) below which most of it is lost."""

RECOVERING = ("one_shot", "iterative", "linear", "gradual", "agp")
"""Schedules that fine-tune by the recovery's recipe; others train a network anew, as long as the dense one."""


def too_short(experiment: Experiment) -> str | None:
    """Say what to lengthen, where even the lightest pruning so far lost most of the metric; None where it did not."""
    dense, metric = experiment.dense, experiment.metric
    ended = [trial for trial in experiment.trials if trial.succeeded and _tells(trial)]
    lightest = max(ended, key=lambda trial: trial.metrics["params"], default=None)
    if dense is None or lightest is None or lightest.metrics["params"] < LIGHT * dense["params"]:
        return None
    before = dense[metric.name]
    if metric.gain(lightest.quality, before) >= MOST * metric.gain(before, before):
        return None
    kept = lightest.metrics["params"] / dense["params"]
    return (
        f"a network that keeps {kept:.0%} of its parameters has lost most of its "
        f"{metric.noun}: {metric.write(lightest.quality)}, dense {metric.write(before)}. It is trained far too shortly "
        f"after pruning: stop, and {_remedy(experiment, lightest)}"
    )


def _remedy(experiment: Experiment, trial: Trial) -> str:
    """Return what to lengthen."""
    settings, what = experiment.settings, "recovery"
    now = settings.recovery_steps
    if schedule_of(trial.parameters) == "supernet":
        what, now = "supernet", settings.supernet_steps
    return f"add --{what}-steps {10 * now if now else 'N'} to the trialCommand, about ten times as many as now"


def _tells(trial: Trial) -> bool:
    """Whether a trial shows what the recovery or the supernet's training does, all of it."""
    if trial.baseline == DENSE:
        return False
    schedule, budget = schedule_of(trial.parameters), trial.parameters.get("budget")
    return schedule == "supernet" or (schedule in RECOVERING and (budget is None or budget >= 1))
