import random
from itertools import product

import pytest

from autoprune.errors import UserError
from autoprune.results.pareto import check_objectives, choose, costs, pareto_front

MEASURES = {
    "big": {"accuracy": 0.99, "macs": 100.0, "params": 10.0},
    "middle": {"accuracy": 0.985, "macs": 20.0, "params": 8.0},
    "small": {"accuracy": 0.90, "macs": 10.0, "params": 2.0},
    "dominated": {"accuracy": 0.90, "macs": 30.0, "params": 1.0},
    "twin of small": {"accuracy": 0.90, "macs": 10.0, "params": 2.0},
}
OBJECTIVES = ("accuracy", "macs")
FRONT = {name: MEASURES[name] for name in ("big", "middle", "small")}
DENSE = {"accuracy": 0.99, "macs": 1000.0}


def test_the_front_has_what_nothing_else_beats_most_accurate_first():
    assert pareto_front(MEASURES, OBJECTIVES) == ["big", "middle", "small"]


@pytest.mark.parametrize("objectives", [("accuracy", "macs"), ("params", "accuracy", "macs"), ("macs",)])
def test_a_front_has_one_of_each_value_that_none_dominates(objectives):
    rng = random.Random(0)
    results = {i: {name: rng.randrange(1, 9) for name in MEASURES["big"]} for i in range(80)}
    front, points = pareto_front(results, objectives), {key: costs(each, objectives) for key, each in results.items()}
    dominated = {
        p for p, q in product(points.values(), repeat=2) if p != q and all(b <= a for a, b in zip(p, q, strict=True))
    }
    assert [points[key] for key in front] == sorted(set(points.values()) - dominated)
    assert all(key == min(other for other in points if points[other] == points[key]) for key in front)


def test_another_objective_brings_another_front():
    assert pareto_front(MEASURES, ("accuracy", "params")) == ["big", "middle", "dominated"]


def test_no_measures_no_front():
    assert pareto_front({}, OBJECTIVES) == []


def test_an_unknown_objective_is_refused():
    with pytest.raises(UserError, match="unknown objective 'flops': use accuracy, .*params, macs"):
        check_objectives(["accuracy", "flops"])


@pytest.mark.parametrize(
    "rule, chosen",
    [
        ("drop<=1%", "middle"),
        ("drop<=0%", "big"),
        ("drop<=10%", "small"),
        ("macs<=50", "middle"),
        ("params<=0.009k", "middle"),
        ("accuracy>=0.98", "middle"),
        ("accuracy>=90%", "small"),
        (" knee ", "middle"),
        ("small", "small"),
    ],
)
def test_a_rule_picks_what_it_says(rule, chosen):
    assert choose(rule, FRONT, DENSE, OBJECTIVES) == chosen


@pytest.mark.parametrize(
    "rule, message",
    [
        ("macs<=1", "no trial satisfies"),
        ("best", "cannot choose by"),
        ("accuracy<=1", "cannot choose"),
        ("rmse<=1", "cannot choose"),
    ],
)
def test_a_rule_that_cannot_be_met_or_read_is_refused(rule, message):
    with pytest.raises(UserError, match=message):
        choose(rule, FRONT, DENSE, OBJECTIVES)


def test_nothing_can_be_chosen_from_an_empty_front():
    with pytest.raises(UserError, match="no trial has succeeded"):
        choose("knee", {}, DENSE, OBJECTIVES)
