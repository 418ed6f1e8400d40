"""How long a search will take, from a few timed steps, before anything long starts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from torch import nn

from autoprune.base.progress import Stage, reported_to
from autoprune.errors import TrialFailure
from autoprune.prune import dense
from autoprune.prune.groups import Groups
from autoprune.prune.schedules import get_schedule
from autoprune.results import baselines, units
from autoprune.results.candidate import Candidate
from autoprune.results.settings import TrialCommand
from autoprune.search.halving import budgets
from autoprune.supernet import supernet
from autoprune.supernet.subnets import Subnets
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loop
from autoprune.trial import recipe_search

STEPS = 3
"""Steps that are timed of each kind; the first is not counted."""

SMALLER = 0.6
"""What a step of a pruned network costs beside the dense one's, roughly: half of the channels, the whole teacher."""

OVERHEAD = 0.7
"""Seconds of a trial beside training and evaluation: its start, criteria, removal, measures."""

FRONT = 6
"""Networks of a front that are fine-tuned to the end, as a rule."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of each part of a search, at most where a part may end by itself or be in the cache.

    Args:
        parts: what takes time, in words, and the seconds.
        search: those of them that count against the time that the config allows.
    """

    parts: Mapping[str, float]
    search: float

    @property
    def total(self) -> float:
        """Seconds of all."""
        return sum(self.parts.values())

    @property
    def words(self) -> str:
        """Return it in words: ``about 25 min: 9 min for the dense model, ...``; parts below a fiftieth are left out."""
        shown = {what: seconds for what, seconds in self.parts.items() if seconds > self.total / 50}
        listed = ", ".join(f"{_about(seconds)} for {what}" for what, seconds in shown.items())
        return f"about {_about(self.total)} at most" + (f": {listed}" if len(shown) > 1 else "")

    def warning(self, allowed: float | None) -> str | None:
        """Return a warning where the search takes longer than the config allows, in seconds; else None."""
        if allowed is None or self.search <= allowed:
            return None
        return (
            f"the search alone may take {_about(self.search)}, and maxExperimentDuration allows {_about(allowed)}: it "
            "would end early, with what it has by then; raise that, or allow fewer trials or shorter recoveries"
        )


def estimate(
    settings: TrialCommand,
    task: Task,
    data: Splits,
    groups: Groups,
    space: Mapping[str, Any],
    trials: int,
    at_once: int,
    device: Any,
) -> Estimate | None:
    """Time a few steps of each kind, and return how long a search takes; None if nobody can say.

    Args:
        groups: of the task's network.
        trials: how many the config allows in all, the dense model's and the baselines' among them.
        at_once: how many run next to each other.
        device: where networks are trained.
    """
    if task.fit is not None:  # whose steps are not ours to cut short
        return None
    model = task.build(settings.seed).to(device).eval()
    is_trained = bool(settings.checkpoint) or task.is_trained
    training, recovery = (_a_step(task, model, data, recipe) for recipe in (task.training, task.recovery))
    started = time.monotonic()
    evaluation.quality(task, model, data.validation)
    judged = time.monotonic() - started

    recovered = SMALLER * recovery * task.recovery.steps
    parts: dict[str, float] = {}
    if not is_trained and not dense.is_cached(task, data, settings.seed, device):
        parts["the dense model"] = training * task.training.steps + judged
    tried = settings.recipe_trials * len(recipe_search.SPARSITIES)
    parts["the recipes"] = tried * (recovered + judged)

    first = baselines.first(" ".join(settings.to_words()), space)
    schedules = list(space["schedule"]["_value"]) if "schedule" in space else [Candidate.schedule]
    prepared = [each for each in first if each.get("baseline") == baselines.DENSE]
    if "supernet" in schedules:
        steps = supernet.supernet_recipe(task).steps * max(1, len(prepared))
        parts["the supernet"] = steps * _a_supernet_step(task, model, data, groups, settings.round_to)
    if prepared:
        parts["the probe"] = 4 * len(groups) * len(prepared) * judged

    def seconds(schedule: str, budget: float) -> float:
        how = get_schedule(schedule)
        full = SMALLER * training * task.training.steps * how.rounds if how.retrain == "training" else recovered
        return budget * full + 2 * judged + OVERHEAD

    others = [each for each in first if each not in prepared]
    parts["the baselines"] = sum(seconds(str(each["schedule"]), 1.0) for each in others) / at_once
    number, searched = max(0, trials - len(first)), 0.0
    for schedule in schedules:
        rungs = budgets(schedule)
        shares = [3.0**-rung for rung in range(len(rungs))]  # a third of each rung goes on
        costs = [share * seconds(schedule, budget) for share, budget in zip(shares, rungs, strict=True)]
        searched += sum(costs) / sum(shares)
    parts["the candidates"] = number * searched / len(schedules) / at_once
    search = sum(parts.get(what, 0.0) for what in ("the supernet", "the probe", "the baselines", "the candidates"))
    parts["the front's fine-tuning"] = FRONT * settings.seeds * (recovered + 2 * judged) / at_once
    return Estimate(parts, search)


def _a_step(task: Task, model: nn.Module, data: Splits, recipe: Any) -> float:
    """Return the seconds of a training step."""
    if not recipe.steps:
        return 0.0
    short, copied = replace(recipe, steps=STEPS, bn_reestimation=0), copy.deepcopy(model)
    return _timed(lambda: loop.train(task, copied, data.train, short, teacher=model if recipe.distillation else None))


def _a_supernet_step(task: Task, model: nn.Module, data: Splits, groups: Any, round_to: int) -> float:
    """Return the seconds of a step of the supernet's training."""
    subnets = Subnets.in_order(supernet.order(task, data, model, groups, "l1_norm"), groups, round_to, ())
    short = replace(supernet.supernet_recipe(task), steps=STEPS)
    return _timed(lambda: supernet.train_supernet(task, data, model, subnets, short))


def _timed(work: Callable[[], Any]) -> float:
    """Return the median of the seconds between two steps of what reports them."""
    ends: list[float] = []
    done = 0

    def listen(stages: list[Stage]) -> None:
        nonlocal done
        if stages and stages[0].done > done:
            done = stages[0].done
            ends.append(time.monotonic())

    with reported_to(listen), suppress(TrialFailure):  # of a loss that is no number: a trial says what to do
        work()
    between = [after - before for before, after in zip(ends, ends[1:], strict=False)]
    return median(between) if between else 0.0


def _about(seconds: float) -> str:
    """Return a duration no more exactly than an estimate is: whole minutes from two on."""
    return (
        f"{max(1, round(seconds))} s"
        if seconds < 120
        else units.duration(60 * round(seconds / 60)).removesuffix(" 0 s")
    )
