"""The two baselines that every search runs beside its own candidates, each at several sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autoprune.results.candidate import BLOCK_PREFIX, PREFIX, TIE, Candidate, schedule_of
from autoprune.results.measures import METRIC, Measure
from autoprune.results.settings import TrialCommand

BASELINES: dict[str, tuple[dict[str, str], tuple[float, ...]]] = {
    # uniform L1-norm filter pruning, then fine-tuning (Li et al. 2017)
    "l1_filter": ({"criterion": "l1_norm", "schedule": "one_shot"}, (0.25, 0.5, 0.75)),
    # iterative magnitude pruning of single weights with rewinding (Frankle & Carbin 2019)
    "lottery_ticket": ({"criterion": "level", "schedule": "lottery_ticket"}, (0.5, 0.8, 0.95)),
}
"""Name -> how it prunes, and at which uniform sparsities."""


REWINDING = ("lottery_ticket",)
"""Baselines that go back to the weights before training, which a checkpoint does not hold."""

DENSE = "dense"
"""Marks the trial of the dense model, which also prepares the search (see :mod:`autoprune.trial.preparation`)."""


def first(trial_command: str, space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of all trials that run before the tuner's: the dense model's, then the baselines."""
    return [*preparations(trial_command, space), *for_command(trial_command)]


def preparations(trial_command: str, space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of the trials that come first of all: the dense model's, which prepare the search.

    One for each criterion whose order of channels a supernet of its own serves; one alone without such. They name the
    blocks and the ties of the space, none of which goes.
    """
    command = TrialCommand.parse(trial_command)
    if command is None or not command.warm_start:
        return []
    schedules = {schedule_of({"schedule": name}) for name in _choices(space, "schedule", Candidate.schedule)}
    candidates = [Candidate()]
    if "supernet" in schedules:
        criteria = _choices(space, "criterion", Candidate.criterion)
        candidates = [Candidate(criterion=name, schedule="supernet") for name in criteria]
    blocks = {name.removeprefix(BLOCK_PREFIX): 0 for name in space if name.startswith(BLOCK_PREFIX)}
    ties = {name.removeprefix(PREFIX): 0.0 for name in space if name.startswith(PREFIX + TIE)}
    return [
        replace(candidate, baseline=DENSE, blocks=blocks, sparsity=ties).to_parameters() for candidate in candidates
    ]


def _choices(space: Mapping[str, Any], name: str, default: str) -> list[str]:
    return list(space[name]["_value"]) if name in space else [default]


def for_command(trial_command: str) -> list[dict[str, Any]]:
    """Return the parameters of the baseline trials of an experiment, by its trial command.

    A command that is not ``autoprune trial ...``, or says ``--no-baselines``, has none; one that gives a checkpoint
    without its initial weights has none of :data:`REWINDING`. The quick ones come first: they are networks to look at
    while the search is prepared.
    """
    command = TrialCommand.parse(trial_command)
    if command is None or not command.baselines:
        return []
    return [
        Candidate(uniform=sparsity, baseline=name, criterion=how["criterion"], schedule=how["schedule"]).to_parameters()
        for name, (how, sparsities) in BASELINES.items()
        if name not in REWINDING or command.knows_initial
        for sparsity in reversed(sparsities)
    ]


def left_out(command: TrialCommand) -> str | None:
    """Say, in one line, which baselines a trial command leaves out for lack of the initial weights; None for none."""
    if command.knows_initial or not command.baselines:
        return None
    return (
        f"Baseline {' and '.join(REWINDING)} left out: it goes back to the weights before training, which "
        "nobody knows of a trained model; name them with --initial FILE."
    )


def margins(
    measures: Mapping[str, float],
    dense: Mapping[str, float],
    baselines: Mapping[str, Sequence[Mapping[str, float]]],
    metric: Measure = METRIC,
) -> dict[str, float]:
    """Return how much better (positive) or worse a metric is than each baseline's at the same number of parameters.

    A baseline's metric between its measured sizes, the dense model among them, is interpolated over the logarithm of
    the parameters; below its smallest it is taken to stay what it is there, which flatters the baseline.

    Args:
        measures: the candidate's metric and ``params`` (non-zeros).
        baselines: the measures of each baseline's trials, by its name.
        metric: the measure that judges.

    Returns:
        ``above_NAME`` for each baseline that has a result.
    """
    size = math.log(max(1, measures["params"]))
    above = {}
    for name, results in baselines.items():
        if results:
            at = [(math.log(max(1, m["params"])), -metric.cost(m[metric.name])) for m in [*results, dense]]
            baseline = float(np.interp(size, *np.array(sorted(at)).T))
            above[f"above_{name}"] = round(-metric.cost(measures[metric.name]) - baseline, 6)
    return above
