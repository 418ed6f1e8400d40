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

RECOVERIES = 2.0
"""Recoveries of the last rung, as the tuner has it by itself."""

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


@dataclass(frozen=True)
class Costs:
    """Seconds of the kinds of work that a search is made of, on this machine and for its network.

    Args:
        settings: of the trials.
        space: that is searched.
        task: whose recipes say how many steps there are.
        groups: coupled groups of its network.
        training: of a step of the dense model's training.
        recovery: of a step of a recovery of the dense model.
        supernet: of a step of the supernet's training; 0 where none is trained.
        judged: of one evaluation.
        is_trained: whether the dense model is there already.
    """

    settings: TrialCommand
    space: Mapping[str, Any]
    task: Task
    groups: int
    training: float
    recovery: float
    supernet: float
    judged: float
    is_trained: bool

    @property
    def first(self) -> list[dict[str, Any]]:
        """The parameters of the trials that come before the tuner's."""
        return baselines.first(" ".join(self.settings.to_words()), self.space)

    @property
    def schedules(self) -> list[str]:
        """The schedules that are searched over."""
        return list(self.space["schedule"]["_value"]) if "schedule" in self.space else [Candidate.schedule]

    @property
    def supernet_steps(self) -> int:
        """Steps of the supernet's training at most; 0 where none is trained."""
        return supernet.supernet_recipe(self.task).steps if "supernet" in self.schedules else 0

    def of(
        self, trials: int, at_once: int, recoveries: float = RECOVERIES, supernet_steps: int | None = None
    ) -> Estimate:
        """Return how long a search takes.

        Args:
            trials: how many in all, the dense model's and the baselines' among them.
            at_once: how many run next to each other.
            recoveries: the length of the last rung's training where a supernet comes before it.
            supernet_steps: of the supernet's training; as many as its recipe has if None.
        """
        task, judged, first = self.task, self.judged, self.first
        recovered = SMALLER * self.recovery * task.recovery.steps
        parts: dict[str, float] = {}
        if not self.is_trained:
            parts["the dense model"] = self.training * task.training.steps + judged
        tried = self.settings.recipe_trials * len(recipe_search.SPARSITIES)
        parts["the recipes"] = tried * (recovered + judged)
        prepared = [each for each in first if each.get("baseline") == baselines.DENSE]
        if "supernet" in self.schedules:
            steps = self.supernet_steps if supernet_steps is None else supernet_steps
            parts["the supernet"] = steps * max(1, len(prepared)) * self.supernet
        if prepared:
            parts["the probe"] = 4 * self.groups * len(prepared) * judged

        def seconds(schedule: str, budget: float) -> float:
            how = get_schedule(schedule)
            full = recovered
            if how.retrain == "training":
                full = SMALLER * self.training * task.training.steps * how.rounds
            return budget * full + 2 * judged + OVERHEAD

        others = [each for each in first if each not in prepared]
        parts["the baselines"] = sum(seconds(str(each["schedule"]), 1.0) for each in others) / at_once
        number, searched = max(0, trials - len(first)), 0.0
        for schedule in self.schedules:
            rungs = budgets(schedule, recoveries=recoveries)
            shares = [3.0**-rung for rung in range(len(rungs))]  # a third of each rung goes on
            costs = [share * seconds(schedule, budget) for share, budget in zip(shares, rungs, strict=True)]
            searched += sum(costs) / sum(shares)
        parts["the candidates"] = number * searched / len(self.schedules) / at_once
        search = sum(parts.get(what, 0.0) for what in ("the supernet", "the probe", "the baselines", "the candidates"))
        longest = max(budgets(schedule, recoveries=recoveries)[-1] for schedule in self.schedules)
        tuned = longest * recovered + 2 * judged
        parts["the front's fine-tuning"] = FRONT * self.settings.seeds * tuned / at_once
        return Estimate(parts, search)


def time_steps(
    settings: TrialCommand,
    task: Task,
    data: Splits,
    groups: Groups,
    space: Mapping[str, Any],
    device: Any,
) -> Costs | None:
    """Time a few steps of each kind; return None if nobody can say, of a task that trains by itself.

    Args:
        groups: of the task's network.
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
    schedules = space["schedule"]["_value"] if "schedule" in space else [Candidate.schedule]
    one = _a_supernet_step(task, model, data, groups, settings.round_to) if "supernet" in schedules else 0.0
    is_trained = is_trained or dense.is_cached(task, data, settings.seed, device)
    return Costs(settings, space, task, len(groups), training, recovery, one, judged, is_trained)


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
