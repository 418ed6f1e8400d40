"""Which network of a front is taken home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from autoprune.errors import UserError
from autoprune.finalize.final import fine_tuned_of
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.limits import DROP, Limit, satisfies
from autoprune.results.measures import MEASURES, Measure
from autoprune.results.pareto import choose

DEFAULT_RULE = "drop<=1%"
MOST = 12
"""Networks of a front that are fine-tuned; of more, as many as lie evenly along it."""


def members(front: Sequence[Trial]) -> list[Trial]:
    """Return the networks of a front to fine-tune: each once, the one with the largest budget, not more than MOST."""
    by_content: dict[str, Trial] = {}
    for trial in front:
        content = replace(Candidate.from_parameters(trial.parameters), budget=None).id
        known = by_content.get(content)
        if known is None or (trial.parameters.get("budget") or 0) > (known.parameters.get("budget") or 0):
            by_content[content] = trial
    found = list(by_content.values())
    if len(found) <= MOST:
        return found
    return [found[round(i * (len(found) - 1) / (MOST - 1))] for i in range(MOST)]


def choose_trial(experiment: Experiment, rule: str | None) -> tuple[Trial, str]:
    """Return the trial that ``rule`` picks from the front, and the rule in force.

    Without a rule it is ``drop<=1%``, or the best trial by the metric where none is that good. A trial's id picks any
    trial. Once the front was fine-tuned to the end, the mean results on validation data after that count, before it
    the search's.

    Raises:
        UserError: the rule is not understood, or nothing satisfies it or the search's constraints.
    """
    if rule and any(trial.id == rule for trial in experiment.trials if trial.succeeded):
        return experiment.trial(rule), f"trial {rule}, by hand"
    found, metric = experiment.front(), experiment.metric
    front = {trial.id: trial.measures for trial in found}
    known, networks = fine_tuned_of(experiment), members(found)
    if all(trial.id in known for trial in networks):
        reached = {trial.id: fmean(known[trial.id].validation) for trial in networks}
        front = {key: front[key] | {metric.name: value} for key, value in reached.items()}
        front = {key: m for key, m in front.items() if satisfies(experiment.constraints, m, experiment.dense, metric)}
    dense = experiment.dense or ({} if metric.ideal is None else {metric.name: metric.ideal})
    if experiment.candidates and not front:
        raise UserError(_why_empty(experiment))
    if rule is None and front:
        limit = Limit.read(DEFAULT_RULE)
        assert limit is not None
        if all(limit.violation(m, dense.get(metric.name), metric) > 0 for m in front.values()):
            best = min(front, key=lambda key: metric.cost(front[key][metric.name]))
            return experiment.trial(best), f"the {metric.best}: no trial is within 1 % of the dense {metric.noun}"
    rule = rule or DEFAULT_RULE
    return experiment.trial(choose(rule, front, dense, experiment.objectives, metric)), rule


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
