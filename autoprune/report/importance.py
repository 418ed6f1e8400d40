"""Which parameters of a search mattered: fANOVA over its candidates, by Optuna's own evaluator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprune.report.fidelity import effective_budget
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.pareto import size_of

FEWEST = 30
"""Below so many candidates nothing is said."""

MOST = 200
"""More candidates than these would take minutes: so many are drawn from them."""

ROUNDS, TREES, DEPTH = 4, 8, 6
"""Forests that are grown, each beside made-up parameters of its own, the trees of each, and how deep they grow.

More and deeper ones take minutes, and say the same.
"""

METHOD = "fANOVA (Hutter et al. 2014, as in Optuna)"


@dataclass(frozen=True)
class Importance:
    """How much of the differences between candidates each parameter explains alone.

    Args:
        shares: by parameter, the most important first; they add up to 1.
        chance: the greatest share of a made-up parameter, of which there is one for each: the real one's values,
            shuffled (as in Boruta, Kursa and Rudnicki 2010). What is below it may be chance.
    """

    shares: Mapping[str, float]
    chance: float


@dataclass(frozen=True)
class Importances:
    """What mattered, for the metric as it is and at equal size.

    Args:
        at_equal_size: for what is left of the metric when what networks of that size have is taken off.
        of_metric: for the metric itself, which mostly says what makes networks small.
        trials: over how many candidates.
    """

    at_equal_size: Importance
    of_metric: Importance
    trials: int


def judged_alike(experiment: Experiment) -> list[Trial]:
    """Return the candidates with the training that most of them had: judgements after less or more do not compare."""
    budgets = Counter(trial.parameters.get("budget") for trial in experiment.candidates)
    if not budgets:
        return []
    usual = max(budgets, key=lambda budget: (budgets[budget], str(budget)))
    return [trial for trial in experiment.candidates if trial.parameters.get("budget") == usual]


def how_judged(trials: Sequence[Trial]) -> str:
    """Return what training candidates that were judged alike had, in words; nothing if it was all of it."""
    budgets = {effective_budget(trial) for trial in trials}
    if budgets == {0.0}:
        return "judged by the supernet alone"
    return f"judged after {max(budgets):.0%} of the training" if len(budgets) == 1 and budgets != {1.0} else ""


def at_equal_size(experiment: Experiment, trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Return by how much each candidate is better than networks of its size are, in the metric's unit; shape (n,).

    What networks of a size have is an isotonic regression of the metric over the size: the closest curve that never
    falls as networks grow.
    """
    from scipy.optimize import isotonic_regression

    size = size_of(experiment.objectives, metric=experiment.metric)
    sizes = np.array([trial.measures[size] for trial in trials])
    goodness = _goodness(experiment, trials)
    order = np.argsort(sizes, kind="stable")
    usual = np.empty_like(goodness)
    usual[order] = isotonic_regression(goodness[order], increasing=True).x
    return goodness - usual


def importances(experiment: Experiment, seed: int = 0) -> Importances | str:
    """Return what mattered among the candidates that were judged alike, or why that cannot be said.

    A candidate that fell off the rest (below the lower quartile by more than 1.5 times the quartiles' distance) counts
    as the last that did not: else all that could be learnt would be what ruins a network.
    """
    trials = judged_alike(experiment)
    if len(trials) < FEWEST:
        return f"It takes {FEWEST} candidates that were judged alike to say what mattered; there are {len(trials)}."
    random = np.random.default_rng([seed, 13])
    if len(trials) > MOST:
        trials = [trials[i] for i in sorted(random.choice(len(trials), MOST, replace=False))]
    columns = _varied([trial.parameters for trial in trials])
    if not columns:
        return "All candidates have the same parameters."
    found = []
    for values in (at_equal_size(experiment, trials), _goodness(experiment, trials)):
        values = np.maximum(values, _fence(values))
        if np.ptp(values) == 0:
            return f"All candidates have the same {experiment.metric.noun}."
        found.append(_over_rounds(columns, values, random))
    return Importances(found[0], found[1], len(trials))


def _goodness(experiment: Experiment, trials: Sequence[Trial]) -> NDArray[np.float64]:
    return np.array([-experiment.metric.cost(trial.quality) for trial in trials])


def _fence(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(low - 1.5 * (high - low))


def _varied(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each parameter that all rows have and that differ, by its name."""
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    columns = {name: [row[name] for row in rows] for name in shared}
    return {name: column for name, column in columns.items() if len(set(map(str, column))) > 1}


def _over_rounds(
    columns: Mapping[str, Sequence[Any]], values: NDArray[np.float64], random: np.random.Generator
) -> Importance:
    """Return the mean over several forests, beside which parameters are shuffled anew each time."""
    shares, chance = dict.fromkeys(columns, 0.0), 0.0
    for _ in range(ROUNDS):
        orders = {name: random.permutation(len(values)) for name in columns}
        shuffled = {f"{name}, shuffled": [columns[name][i] for i in order] for name, order in orders.items()}
        found = _fanova(dict(columns) | shuffled, values, int(random.integers(2**31)))
        whole = sum(found[name] for name in columns) or 1.0
        chance += float(max(found[name] for name in shuffled) / whole) / ROUNDS
        for name in columns:
            shares[name] += float(found[name] / whole) / ROUNDS
    return Importance(dict(sorted(shares.items(), key=lambda each: -each[1])), chance)


def _fanova(columns: Mapping[str, Sequence[Any]], values: NDArray[np.float64], seed: int) -> dict[str, float]:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    from autoprune.search.quiet import quiet_optuna

    distributions: dict[str, BaseDistribution] = {}
    for name, column in columns.items():
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in column)
        choices = sorted(set(column), key=str)
        distributions[name] = (
            FloatDistribution(min(column), max(column)) if numbers else CategoricalDistribution(choices)
        )
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        for row, value in zip(rows, values, strict=True):
            study.add_trial(optuna.create_trial(params=row, distributions=distributions, value=float(value)))
        return get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
        )
