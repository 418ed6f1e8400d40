"""A task's own metric in limits, choices and tuners, whichever way is better."""

import pytest

from autoprune.errors import UserError
from autoprune.results.limits import read_limits
from autoprune.results.measures import METRICS, Metric, declare, metric_among, read_metric
from autoprune.results.pareto import choose, pareto_front

DENSE = {"rmse": 2.0, "macs": 100.0, "params": 10.0, "bytes": 40.0, "latency_ms": 1.0}
FRONT = {
    "large": DENSE | {"rmse": 2.01, "macs": 60.0, "params": 8.0},
    "middle": DENSE | {"rmse": 2.06, "macs": 30.0, "params": 4.0},
    "small": DENSE | {"rmse": 3.0, "macs": 10.0, "params": 2.0},
    "beaten": DENSE | {"rmse": 3.1, "macs": 20.0, "params": 3.0},
}


def test_of_a_metric_that_is_minimised_the_lowest_are_on_the_front():
    assert pareto_front(FRONT, ("rmse", "macs")) == ["large", "middle", "small"]


@pytest.mark.parametrize(("rule", "chosen"), [("drop<=1%", "large"), ("drop<=4%", "middle"), ("rmse<=2.5", "middle")])
def test_a_drop_is_a_share_of_the_dense_models_value(rule, chosen):
    front = {key: FRONT[key] for key in ("large", "middle", "small")}
    assert choose(rule, front, DENSE, ("rmse", "macs"), METRICS["rmse"]) == chosen


def test_the_lower_bound_of_a_metric_that_is_minimised_is_refused():
    with pytest.raises(UserError, match="cannot read the constraint"):
        read_limits(["rmse>=2"])


def test_a_metric_of_ones_own_reaches_another_process_by_the_trial_command():
    word = Metric("own_dice", form="percent").to_word()
    assert word == "own_dice:maximize:percent"
    metric = read_metric(word)
    (limit,) = read_limits(["own_dice>=40%"])
    assert limit.bound == pytest.approx(0.4)
    assert metric_among(["macs", "own_dice"]) is metric


@pytest.mark.parametrize(
    ("metric", "example"),
    [
        ("accuracy", "accuracy>=0.98"),
        ("rmse", "rmse<=NUMBER"),
        (Metric("own_error", "minimize", "percent"), "own_error<=0.02"),
    ],
)
def test_what_cannot_be_read_is_answered_by_an_example_in_the_metric_that_judges(metric, example):
    metric = METRICS.get(metric, metric)
    for wrong in (lambda: read_limits(["nonsense"], metric), lambda: choose("nonsense", FRONT, DENSE, metric=metric)):
        with pytest.raises(UserError) as error:
            wrong()
        assert example in str(error.value)
        assert ("accuracy" in str(error.value)) == (metric.name == "accuracy")


@pytest.mark.parametrize("word", ["nothing", "a:b", "a:up:percent", "a:maximize:furlongs", "macs:maximize:number", ":"])
def test_a_metric_that_is_none_is_refused(word):
    with pytest.raises(UserError):
        read_metric(word)


def test_a_metric_that_is_declared_twice_is_the_later_one():
    declare(Metric("own_score"))
    assert declare(Metric("own_score", direction="minimize")) is METRICS["own_score"]
