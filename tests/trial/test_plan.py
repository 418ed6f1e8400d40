"""A search that is given a time plans with it."""

from dataclasses import replace

import pytest

from autoprune.errors import UserError
from autoprune.results.settings import TrialCommand
from autoprune.task.recipe import Recipe
from autoprune.trial import plan as module
from autoprune.trial.estimate import Costs
from autoprune.trial.plan import plan

SPACE = {"schedule": {"_type": "choice", "_value": ["supernet"]}}


@pytest.fixture
def costs(digits):
    """A search whose recovery takes six seconds, and whose supernet takes 60 at most."""
    task = replace(digits[0], training=Recipe(steps=300), recovery=Recipe(steps=100))
    command = TrialCommand.parse("autoprune trial digits --no-baselines --seeds 1")
    return Costs(command, SPACE, task, 4, training=0.1, recovery=0.1, supernet=0.1, judged=0.1, is_trained=True)


def test_more_time_first_tries_more_then_trains_longer_then_tries_more_again(costs):
    plans = [plan(costs, seconds) for seconds in (180, 250, 400, 700, 2000)]
    assert [each.trials for each in plans] == sorted(each.trials for each in plans)
    assert [each.recoveries for each in plans] == sorted(each.recoveries for each in plans)
    assert plans[0].trials < module.ENOUGH and plans[0].recoveries == 1
    assert 1 < plans[2].recoveries < module.LONGEST and plans[2].trials == module.ENOUGH + 1
    assert plans[-1].recoveries == module.LONGEST and plans[-1].trials > module.ENOUGH + 1


@pytest.mark.parametrize("seconds", [180, 400, 2000])
@pytest.mark.parametrize("with_front", [True, False])
def test_a_plan_keeps_to_the_time(costs, seconds, with_front):
    found = plan(costs, seconds, with_front=with_front)
    front = found.estimate.parts["the front's fine-tuning"]
    assert found.estimate.total - (0 if with_front else front) <= seconds
    assert found.search == pytest.approx(seconds - (front if with_front else 0), abs=1)


def test_the_preparation_takes_a_quarter_at_most(costs):
    found = plan(costs, 180)
    spent = found.supernet_steps * costs.supernet + found.estimate.parts["the probe"]
    assert found.supernet_steps < costs.supernet_steps and spent <= 45
    assert plan(costs, 2000).supernet_steps is None


def test_a_time_in_which_nothing_can_be_searched_is_refused_with_what_it_takes(costs):
    with pytest.raises(
        UserError, match=r"--budget 30 s is too short for a search of digits, which takes some .* at least"
    ):
        plan(costs, 30)


def test_two_at_a_time_get_through_more(costs):
    assert plan(costs, 1000, at_once=2).trials > plan(costs, 1000).trials
