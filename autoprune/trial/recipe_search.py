"""The recovery recipe, searched for once for each task: it can weigh more than how sparsity is spread over layers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna

from autoprune import cache
from autoprune.base.progress import note, track
from autoprune.errors import TrialFailure
from autoprune.prune.dense import Dense
from autoprune.results.candidate import Candidate
from autoprune.search.quiet import quiet_optuna
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation
from autoprune.trial.run import run_trial

SPARSITIES = (0.5, 0.8)
"""Of the uniformly pruned networks on which a recipe is judged."""

SEARCHED = ("learning_rate", "distillation", "temperature", "schedule")
"""The fields of a recipe that are searched over; the others stay the task's."""


@dataclass(frozen=True)
class Tried:
    """One recipe and the mean validation metric of the networks that it recovered; None if it diverged."""

    recipe: dict[str, Any]
    quality: float | None


def search_recipe(
    task: Task,
    data: Splits,
    dense: Dense,
    trials: int = 8,
    seed: int = 0,
    round_to: int = 8,
) -> list[Tried]:
    """Return the recipes tried, the best first; from the cache, if this search was done before.

    Each recovers networks of uniform sparsity (:data:`SPARSITIES`, L1 norm) in the recovery's own number of steps. The
    task's own recipe is the first; Optuna's TPE proposes the others: the learning rate within a factor of eight, the
    weight and the temperature of the distillation, the learning rate's schedule. One that diverges comes last.

    Args:
        trials: how many.
    """

    def make(file: Path) -> None:
        found = _search(task, data, dense, trials, seed, round_to)
        file.write_text(json.dumps([asdict(each) for each in found]))

    key = cache.key_of(
        dense=dense.key,
        recipe=task.recovery,
        trials=trials,
        seed=seed,
        round_to=round_to,
        constants=(SPARSITIES, SEARCHED),
    )
    file = cache.cached("recipe", task.name, key, ".json", make)
    found = [Tried(**each) for each in json.loads(file.read_text())]
    metric = task.metric
    return sorted(found, key=lambda each: (each.quality is None, metric.cost(each.quality or 0.0)))


def with_best_recipe(task: Task, tried: list[Tried]) -> Task:
    """Return the task with the recovery recipe that came out best."""
    return replace(task, recovery=replace(task.recovery, **tried[0].recipe))


@quiet_optuna()
def _search(task: Task, data: Splits, dense: Dense, trials: int, seed: int, round_to: int) -> list[Tried]:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, trials // 2), multivariate=True)
    study = optuna.create_study(direction=task.metric.direction, sampler=sampler)
    own = task.recovery
    study.enqueue_trial({name: getattr(own, name) for name in SEARCHED})
    found = []
    for _ in track(range(trials), "recipe", trials):
        trial = study.ask()
        distillations, temperatures = {0.0, 0.5, 0.9, 1.0, own.distillation}, {1.0, 2.0, 4.0, 8.0, own.temperature}
        rates = own.learning_rate / 8, own.learning_rate * 8
        recipe: dict[str, Any] = {
            "learning_rate": trial.suggest_float("learning_rate", *rates, log=True),
            "distillation": trial.suggest_categorical("distillation", sorted(distillations)),
            "temperature": trial.suggest_categorical("temperature", sorted(temperatures)),
            "schedule": trial.suggest_categorical("schedule", ["onecycle", "cosine", "constant"]),
        }
        tried = Tried(recipe, _judge(task, data, dense, replace(own, **recipe), seed, round_to))
        failed = optuna.trial.TrialState.FAIL
        study.tell(trial, tried.quality, state=failed if tried.quality is None else None)
        found.append(tried)
        good = [each.quality for each in found if each.quality is not None]
        if good:
            best = min(good, key=task.metric.cost)
            note(lambda best: f"best {task.metric.noun} {task.metric.write(best)}", best)
    return found


def _judge(task: Task, data: Splits, dense: Dense, recipe: Recipe, seed: int, round_to: int) -> float | None:
    task = replace(task, recovery=recipe)
    try:
        models = [run_trial(task, Candidate(uniform=s), data, dense, seed, round_to).model for s in SPARSITIES]
    except TrialFailure:
        return None
    return fmean(evaluation.quality(task, model, data.validation) for model in models)
