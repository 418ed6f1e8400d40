"""How long a search will take is said before it starts, from a few timed steps."""

from dataclasses import replace

import pytest

from autoprune.results.settings import TrialCommand
from autoprune.task.recipe import Recipe
from autoprune.trial import estimate as module
from autoprune.trial.estimate import Estimate, time_steps

SPACE = {"schedule": {"_type": "choice", "_value": ["supernet"]}}


@pytest.fixture
def asked(digits, monkeypatch):
    """Estimate a search of the digits task where a training step takes two seconds, and a supernet's five."""
    monkeypatch.setattr(module, "_a_step", lambda *_: 2.0)
    monkeypatch.setattr(module, "_a_supernet_step", lambda *_: 5.0)
    task = replace(digits[0], training=Recipe(steps=300), recovery=Recipe(steps=60))

    def ask(command="autoprune trial digits", trials=60, at_once=2, space=SPACE, **changes):
        changed = replace(task, **changes)
        groups = digits[2].groups
        costs = time_steps(TrialCommand.parse(command), changed, digits[1], groups, space, "cpu")
        return costs and costs.of(trials, at_once)

    return ask


def test_each_part_is_counted(asked):
    found = asked()
    assert found.parts["the dense model"] == pytest.approx(600, abs=5)
    assert found.parts["the supernet"] == 360 * 5
    tickets, filters = 3 * 3 * 300 * 2 * module.SMALLER, 3 * 60 * 2 * module.SMALLER
    assert found.parts["the baselines"] == pytest.approx((tickets + filters) / 2, rel=0.05)
    assert found.total == sum(found.parts.values()) > found.search
    assert found.words.startswith("about 1 h") and "10 min for the dense model" in found.words


def test_what_does_not_happen_costs_nothing(asked, digits):
    plain = asked("autoprune trial digits --no-baselines --no-warm-start --checkpoint x.pt")
    assert plain.parts["the baselines"] == 0 and "the dense model" not in plain.parts and "the probe" not in plain.parts
    known = asked(training=digits[0].training)  # trained before: it is in the cache
    assert "the dense model" not in known.parts
    assert asked(fit=lambda model, steps: None) is None
    assert asked(at_once=1).parts["the baselines"] == pytest.approx(2 * asked().parts["the baselines"], rel=0.1)


def test_more_than_the_config_allows_is_a_warning():
    found = Estimate({"the supernet": 600.0, "the candidates": 1800.0, "the probe": 1.0}, 2401.0)
    assert found.words == "about 40 min at most: 10 min for the supernet, 30 min for the candidates"
    assert found.warning(None) is None and found.warning(3000) is None
    assert "may take 40 min, and maxExperimentDuration allows 30 min" in found.warning(1800)


def test_a_training_that_diverges_is_not_the_estimates_affair(digits):
    task, data, dense = digits
    assert module._a_step(task, dense.model, data, replace(task.recovery, learning_rate=1e12)) >= 0


def test_steps_are_really_timed_and_leave_everything_as_it_was(digits):
    task, data, dense = digits
    before = {name: value.clone() for name, value in dense.model.state_dict().items()}
    assert 0 < module._a_step(task, dense.model, data, task.recovery) < 60
    assert 0 < module._a_supernet_step(task, dense.model, data, dense.groups, 8) < 60
    assert all(value.equal(before[name]) for name, value in dense.model.state_dict().items())
