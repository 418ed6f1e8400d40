"""Trials that cannot catch up are stopped; those that may are not."""

import pytest

from autoprune.errors import UserError
from autoprune.search.assessor import ParetoAssessor

GOOD, BAD = True, False


def result(accuracy, macs, **others) -> dict:
    return {"default": accuracy, "accuracy": accuracy, "params": macs / 10, "macs": macs} | others


def run(assessor, name, history, success=True) -> list[bool]:
    """Report a trial's results one by one, as NNI does, until it is stopped."""
    answers = []
    for i in range(len(history)):
        answers.append(assessor.goes_on(name, history[: i + 1]))
        if answers[-1] is BAD:
            break
    assessor.end(name, success and answers[-1] is GOOD)
    return answers


def with_finished(trials=6, before=(), **arguments) -> ParetoAssessor:
    """An assessor that saw trials of three rounds, each of which gained four points in all, and halved twice."""
    assessor = ParetoAssessor(**arguments)
    for i, history in enumerate(before):
        run(assessor, f"before {i}", history)
    for i in range(trials):
        history = [result(0.90, 400), result(0.92, 200), result(0.94, 100)]
        assert run(assessor, f"finished {i}", history) == [GOOD] * 3
    return assessor


def test_a_trial_that_cannot_catch_up_is_stopped_at_once():
    assert run(with_finished(), "bad", [result(0.80, 400), result(0.85, 200)]) == [BAD]


def test_a_trial_that_may_still_catch_up_goes_on():
    assert run(with_finished(), "slow", [result(0.895, 400), result(0.915, 200), result(0.935, 100)]) == [GOOD] * 3


def test_a_smaller_network_is_not_measured_against_a_larger_one():
    assert run(with_finished(), "small", [result(0.80, 300)]) == [GOOD]


def test_what_lies_within_the_margin_is_noise():
    history = [result(0.892, 400)]
    assert run(with_finished(), "near", history) == [GOOD]
    assert run(with_finished(margin=0.001), "near", history) == [BAD]


def test_nothing_is_stopped_before_enough_trials_have_finished():
    bad = [result(0.1, 400)]
    assert run(with_finished(4), "early", bad) == [GOOD]
    assert run(with_finished(5), "in time", bad) == [BAD]
    assert run(with_finished(5, min_trials=9), "early", bad) == [GOOD]


def test_one_lucky_trial_gives_hope_by_the_highest_quantile_only():
    luck, poor = [result(0.80, 400), result(0.94, 100)], [result(0.81, 400)]
    hopeful, strict = (with_finished(before=[luck], quantile=quantile) for quantile in (1.0, 0.5))
    assert run(hopeful, "poor", poor) == [GOOD]
    assert run(strict, "poor", poor) == [BAD]


def test_failed_and_stopped_trials_do_not_count_as_finished():
    assessor = ParetoAssessor(min_trials=1)
    run(assessor, "failed", [result(0.99, 1)], success=False)
    assert run(assessor, "bad", [result(0.1, 400)]) == [GOOD]


def test_accuracies_that_fall_while_more_is_pruned_are_no_reason_to_stop():
    assessor = ParetoAssessor()
    for i in range(8):
        run(assessor, f"finished {i}", [result(0.95, 400), result(0.93, 200), result(0.90, 100)])
    assert run(assessor, "same", [result(0.94, 400), result(0.92, 200), result(0.89, 100)]) == [GOOD] * 3


def test_a_trial_of_a_small_budget_is_not_measured_against_one_of_a_larger():
    assessor = with_finished()
    assert run(assessor, "first rung", [result(0.5, 400, budget=0.111111)]) == [GOOD]
    assert run(assessor, "last rung", [result(0.5, 400, budget=1.0)]) == [BAD]


def test_objectives_decide_what_counts():
    slower = [result(0.95, 400, latency_ms=9.0)]
    assert run(with_finished(), "slower", slower) == [GOOD]
    sizes = ParetoAssessor(objectives=["params", "macs"])
    for i in range(5):
        run(sizes, f"finished {i}", [result(0.9, 100)])
    assert run(sizes, "larger", [result(0.99, 200)]) == [BAD]
    assert run(sizes, "equal", [result(0.1, 100)]) == [GOOD]


@pytest.mark.parametrize("value", [0.9, {"default": 0.9}, {"accuracy": float("nan"), "macs": 1.0}, None])
def test_trials_that_do_not_report_the_objectives_are_never_stopped(value):
    assert run(with_finished(), "other", [value]) == [GOOD]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"objectives": ["flops"]}, "unknown objective 'flops'"),
        ({"min_trials": 0}, "min_trials must be at least 1, not 0"),
        ({"quantile": 90}, "quantile must be at most 1, not 90"),
        ({"margin": "1%"}, "margin must be a number, not '1%'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ParetoAssessor(**arguments)


def test_nni_s_dispatcher_stops_a_hopeless_trial_by_dictionaries(monkeypatch):
    from nni.common.serializer import dump
    from nni.runtime.msg_dispatcher import MsgDispatcher
    from nni.runtime.tuner_command_channel import CommandType

    from autoprune.nni.tuners import served

    assessor, sent = with_finished(), []
    dispatcher = MsgDispatcher("ws://_unittest_", None, served(assessor))
    monkeypatch.setattr(dispatcher, "send", lambda command, data: sent.append((command, data)))
    metric = {"parameter_id": 77, "trial_job_id": "hopeless", "type": "PERIODICAL", "sequence": 0}
    dispatcher.handle_report_metric_data(metric | {"value": dump(result(0.5, 400))})
    assert sent == [(CommandType.KillTrialJob, dump("hopeless"))]
