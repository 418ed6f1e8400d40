import pytest

from autoprune.errors import UserError
from autoprune.results.limits import Limit, read_limits, satisfies

READ = {
    "drop<=1%": ("drop", 0.01),
    "drop <= 0.05": ("drop", 0.05),
    "drop<1.5 %": ("drop", 0.015),
    "drop<=0%": ("drop", 0.0),
    "accuracy>=0.98": ("accuracy", 0.98),
    "accuracy >= 98%": ("accuracy", 0.98),
    "params<=50k": ("params", 50e3),
    " macs <= 20 M ": ("macs", 20e6),
    "macs<=1.5e+6": ("macs", 1.5e6),
    "bytes<=100K": ("bytes", 100e3),
    "latency_ms<=5": ("latency_ms", 5.0),
    "latency<=5ms": ("latency_ms", 5.0),
    "latency<=.5": ("latency_ms", 0.5),
}
FOREIGN = [
    "",
    "knee",
    "macs",
    "macs<=",
    "macs>=20M",
    "accuracy<=0.9",
    "flops<=1M",
    "macs<=50%",
    "drop<=1ms",
    "macs<=-1",
]
FOREIGN += ["params<=1.2.3", "toString<=1", "macs<=1toString", "latency_ms<=5s", "macs<=nan"]
NONSENSE = {
    "drop<=5": "more than 100 %: write drop<=5%",
    "accuracy>=98": "write accuracy>=98%",
    "macs<=0": "must be more than 0",
    "accuracy>=0": "must be more than 0",
}


@pytest.mark.parametrize("words", READ)
def test_a_limit_is_read_in_its_unit(words):
    limit = Limit.read(words)
    assert (limit.measure, pytest.approx(limit.bound)) == READ[words]


@pytest.mark.parametrize("words", FOREIGN)
def test_other_words_are_no_limit(words):
    assert Limit.read(words) is None


@pytest.mark.parametrize("words", NONSENSE)
def test_a_number_that_means_nothing_is_refused_in_one_line(words):
    with pytest.raises(UserError, match=NONSENSE[words]):
        Limit.read(words)


def test_what_lies_at_a_limit_satisfies_it_and_what_lies_beyond_does_not():
    dense = {"accuracy": 0.99}
    limits = read_limits(["drop<=1%", "macs<=20", "accuracy>=0.9", "latency<=5ms"])
    at = {"accuracy": 0.98, "macs": 20, "latency_ms": 5}
    assert satisfies(limits, at, dense)
    for beyond in ({"accuracy": 0.979}, {"macs": 20.1}, {"latency_ms": 5.01}):
        assert not satisfies(limits, at | beyond, dense)


def test_violations_of_different_limits_can_be_compared():
    drop, macs, accuracy = read_limits(["drop<=1%", "macs<=20M", "accuracy>=0.95"])
    assert macs.violation({"macs": 30e6}) == pytest.approx(0.5)
    assert macs.violation({"macs": 10e6}) == pytest.approx(-0.5)
    assert drop.violation({"accuracy": 0.975}, 0.99) == pytest.approx(0.5, abs=1e-6)
    assert accuracy.violation({"accuracy": 0.925}) == pytest.approx(0.5, abs=1e-6)
    assert Limit.read("drop<=0%").violation({"accuracy": 0.98}, 0.99) == pytest.approx(1, abs=1e-6)


def test_a_drop_is_not_satisfied_before_the_dense_accuracy_is_known():
    assert not satisfies(read_limits(["drop<=50%"]), {"accuracy": 1.0}, None)
    with pytest.raises(UserError, match="dense model is not known"):
        Limit.read("drop<=50%").violation({"accuracy": 1.0})


@pytest.mark.parametrize(
    "words, message",
    [
        (["fast"], "cannot read the constraint 'fast': write drop<=1%"),
        ([5], "cannot read the constraint 5"),
        ("macs<=20M", "must be a list"),
        (5, "must be a list"),
        (["macs<=20M", "macs<=1M"], "two on macs"),
    ],
)
def test_constraints_that_cannot_be_read_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        read_limits(words)
