"""What a search does with the time that it is given, planned before anything starts.

How long each network is trained weighs more than how many are tried. So a plan first makes sure that there are
candidates enough to choose from, then lets those that are trained in full train longer, and only then tries more.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.errors import UserError
from autoprune.results import units
from autoprune.trial.estimate import Costs, Estimate

PREPARATION = 0.25
"""The most of the time that the supernet's training and the probe take."""

ENOUGH, FEWEST = 48, 12
"""Candidates before more time goes into longer trainings, and those without which there is no search."""

LONGEST = 6.0
"""Recoveries of the last rung at most."""

STEPS = 0.5
"""By how many recoveries one plan differs from the next."""


@dataclass(frozen=True)
class Plan:
    """How a search spends its time.

    Args:
        trials: how many it will get through, the dense model's and the baselines' among them.
        recoveries: the training of the last rung.
        supernet_steps: of the supernet's training; None where its recipe is short enough.
        search: seconds for the trials; what is left is for the dense model and the front's fine-tuning.
        estimate: of all.
    """

    trials: int
    recoveries: float
    supernet_steps: int | None
    search: float
    estimate: Estimate


def plan(costs: Costs, seconds: float, at_once: int = 1, with_front: bool = True) -> Plan:
    """Return what to do with so many seconds.

    Args:
        at_once: trials that run next to each other.
        with_front: whether the front's fine-tuning has its place in that time.

    Raises:
        UserError: they are too few for a search.
    """
    first, steps = len(costs.first), _supernet_steps(costs, seconds)

    def outside(estimate: Estimate) -> float:
        left_out = 0.0 if with_front else estimate.parts["the front's fine-tuning"]
        return estimate.total - estimate.search - left_out

    def made(candidates: int, recoveries: float) -> Plan:
        estimate = costs.of(first + candidates, at_once, recoveries, steps)
        return Plan(first + candidates, recoveries, steps, seconds - outside(estimate), estimate)

    def fits(one: Plan) -> bool:
        return outside(one.estimate) + one.estimate.search <= seconds

    shortest = made(FEWEST, 1.0)
    if not fits(shortest):
        least = outside(shortest.estimate) + shortest.estimate.search
        raise UserError(
            f"--budget {units.duration(seconds)} is too short for a search of {costs.task.name}, which takes some "
            f"{units.duration(least)} at least: {shortest.estimate.words}; give it more, take the baselines out "
            "(--no-baselines in the trial command), or shorten the task's recovery"
        )
    found, candidates, recoveries = shortest, FEWEST, 1.0
    while candidates < ENOUGH and fits(one := made(candidates + 1, recoveries)):
        found, candidates = one, candidates + 1
    while candidates == ENOUGH and recoveries < LONGEST and fits(one := made(candidates, recoveries + STEPS)):
        found, recoveries = one, recoveries + STEPS
    while recoveries == LONGEST and fits(one := made(candidates + 10, recoveries)):
        found, candidates = one, candidates + 10
    return found


def _supernet_steps(costs: Costs, seconds: float) -> int | None:
    """Return how long the supernet is trained; None if all of its steps take no more than their share of the time."""
    longest = costs.supernet_steps
    if not longest or not costs.supernet:
        return None
    probe = costs.of(0, 1).parts.get("the probe", 0.0)
    affordable = int((PREPARATION * seconds - probe) / costs.supernet)
    return None if affordable >= longest else max(1, min(longest, affordable))
