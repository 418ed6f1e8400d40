"""Which network of a front is taken home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from autoprune.errors import UserError
from autoprune.finalize.confidence import DEFAULT, at_most, check_confidence, kept
from autoprune.finalize.final import fine_tuned_of
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.limits import DROP, Limit, satisfies
from autoprune.results.measures import MEASURES, Measure
from autoprune.results.pareto import choose, size_of

DEFAULT_RULE = "drop<=1%"
MOST = 12
"""Networks of a front that are fine-tuned; of more, as many as lie evenly along it."""


def members(front: Sequence[Trial]) -> list[Trial]:
    """Return the networks of a front to fine-tune: each once, the one with the largest budget, not more than MOST."""
    by_content: dict[str, Trial] = {}
    for trial in front:
        content = replace(Candidate.from_parameters(trial.parameters), budget=None, parent=None).id
        known = by_content.get(content)
        if known is None or (trial.parameters.get("budget") or 0) > (known.parameters.get("budget") or 0):
            by_content[content] = trial
    found = list(by_content.values())
    if len(found) <= MOST:
        return found
    return [found[round(i * (len(found) - 1) / (MOST - 1))] for i in range(MOST)]


def choose_trial(experiment: Experiment, rule: str | None, confidence: float = DEFAULT) -> tuple[Trial, str]:
    """Return the trial that ``rule`` picks from the front, and the rule in force.

    Without a rule it is ``drop<=1%``, or the best trial by the metric where none is that good. A trial's id picks any
    trial. Once the front was fine-tuned to the end, the mean results on validation data after that count, and a limit
    on the drop holds for the true drop, with the given confidence (see :mod:`autoprune.finalize.confidence`). Before
    it the search's results count, as measured.

    Args:
        confidence: in [0.5, 1), or 0 to take drops as measured.

    Raises:
        UserError: the rule is not understood, or nothing satisfies it or the search's constraints.
    """
    check_confidence(confidence)
    if rule and any(trial.id == rule for trial in experiment.trials if trial.succeeded):
        return experiment.trial(rule), f"trial {rule}, by hand"
    found, metric = experiment.front(), experiment.metric
    front = {trial.id: trial.measures for trial in found}
    known, networks = fine_tuned_of(experiment), members(found)
    is_tuned = all(trial.id in known for trial in networks)
    if is_tuned:
        reached = {trial.id: fmean(known[trial.id].validation) for trial in networks}
        front = {key: front[key] | {metric.name: value} for key, value in reached.items()}
        front = {key: m for key, m in front.items() if satisfies(experiment.constraints, m, experiment.dense, metric)}
    dense = experiment.dense or ({} if metric.ideal is None else {metric.name: metric.ideal})
    if experiment.candidates and not front:
        raise UserError(_why_empty(experiment))
    reason, limit = rule or DEFAULT_RULE, Limit.read(rule or DEFAULT_RULE)
    if front and limit is not None and limit.measure == DROP:
        measured = [key for key, m in front.items() if limit.violation(m, dense.get(metric.name), metric) <= 0]
        drops = (
            _drops(experiment, known, _by_size(front, experiment.objectives, metric)) if is_tuned and confidence else {}
        )
        holding = measured
        if drops:
            sure, reason = kept(drops, limit.bound, confidence), f"{reason}, {confidence:.0%} sure"
            holding = [key for key in measured if key in sure]
        nearest = min((at_most(*each, confidence) for each in drops.values()), default=0.0)
        if measured and not holding and rule:
            raise UserError(
                f"{rule}: {len(measured)} trials are measured to keep it, but on so few validation examples none does "
                f"with {confidence:.0%} confidence (the nearest drops by at most {nearest:.2%}): loosen it, give more "
                "validation examples, or take the drops as measured: --confidence 0"
            )
        if not holding and rule is None:
            best = min(front, key=lambda key: metric.cost(front[key][metric.name]))
            reason = f"the {metric.best}: no trial is within 1 % of the dense {metric.noun}"
            if measured:
                reason += f" for {confidence:.0%} sure: fine-tuned, the nearest drops by at most {nearest:.2%}"
            return experiment.trial(best), reason
        front = {key: front[key] for key in holding or front}
    return experiment.trial(choose(rule or DEFAULT_RULE, front, dense, experiment.objectives, metric)), reason


def _drops(
    experiment: Experiment, known: Mapping[str, FineTuned], trials: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return the drop of each trial and its standard error; nothing where one's error is not known."""
    metric, dense = experiment.metric, experiment.dense
    if dense is None:
        return {}
    drops = {}
    for key in trials:
        drop, error = known[key].drop(metric, dense[metric.name])
        if error is None:
            return {}
        drops[key] = drop, error
    return drops


def _by_size(front: Mapping[str, Mapping[str, float]], objectives: Sequence[str], metric: Measure) -> list[str]:
    """Return the front's trials, the largest first: the order in which they are tested must not be their results'."""
    size = size_of(objectives, "params", metric)
    return sorted(front, key=lambda key: (-front[key][size], key))


def _why_empty(experiment: Experiment) -> str:
    """Say which of the constraints no candidate keeps within."""
    limits, measures = experiment.constraints, [trial.metrics for trial in experiment.candidates]
    metric, dense = experiment.metric, experiment.dense
    missed = [limit for limit in limits if not any(satisfies([limit], m, dense, metric) for m in measures)]
    if not missed:
        return f"no trial satisfies all the constraints at once ({', '.join(each.words for each in limits)})"
    nearest = [f"{limit.words} (the nearest has {_nearest(limit, measures, metric)})" for limit in missed]
    return f"no trial satisfies the constraint {', nor '.join(nearest)}: loosen it, or search longer"


def _nearest(limit: Limit, measures: Sequence[Mapping[str, float]], metric: Measure) -> str:
    measure = metric if limit.measure == DROP else MEASURES[limit.measure]
    return f"{measure.name} {min((each[measure.name] for each in measures), key=measure.cost):.6g}"
