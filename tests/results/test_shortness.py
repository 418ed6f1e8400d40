"""A recovery that is far too short is noticed by the first light pruning that ends, and what to lengthen is said."""

import io
import warnings
from dataclasses import replace

import pytest

import autoprune
from autoprune.nni import live
from autoprune.nni.watch import Progress
from autoprune.report.terminal import Console
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import METRIC, Metric
from autoprune.results.shortness import too_short

DENSE = {"accuracy": 0.96, "params": 1000, "macs": 1000, "bytes": 4000, "latency_ms": 1.0}


def search(folder, *trials, command="autoprune trial digits", metric=METRIC, dense=DENSE):
    """Return a search of trials, each an accuracy, a share of the parameters and what it ran."""
    made = []
    for number, (quality, share, parameters) in enumerate(trials):
        measures = {name: value * share for name, value in dense.items()} | {metric.name: quality}
        trial = Trial(f"t{number}", number, parameters, "SUCCEEDED", measures, None, folder, 1, 2, metric=metric)
        trial.__dict__["_read"] = ({"dense": dense}, None)
        made.append(trial)
    return Experiment("abc", folder, {"trialCommand": command, "maxTrialNumber": 9}, made, metric=metric)


FILTER = {"schedule": "one_shot", "baseline": "l1_filter", "sparsity": 0.25}
SUPERNET = {"schedule": "supernet", "budget": 0.0}


@pytest.mark.parametrize(
    "trials, words",
    [
        ([(0.2, 0.56, FILTER)], "add --recovery-steps N to the trialCommand"),
        ([(0.2, 0.9, SUPERNET)], "add --supernet-steps N"),
        ([(0.9, 0.56, FILTER), (0.2, 0.2, FILTER)], None),  # that one is heavy
        ([(0.2, 0.2, FILTER)], None),  # nothing light has ended
        ([(0.2, 0.9, {"schedule": "one_shot", "budget": 0.1})], None),  # it was only begun
        ([(0.2, 0.9, {"schedule": "lottery_ticket"})], None),  # as long as the dense one
        ([(0.2, 1.0, {"baseline": "dense", "schedule": "supernet"})], None),
        ([], None),
    ],
)
def test_the_lightest_pruning_says_what_to_lengthen(tmp_path, trials, words):
    said = too_short(search(tmp_path, *trials))
    assert words in said if words else said is None


def test_the_number_is_ten_times_the_present_one(tmp_path):
    said = too_short(search(tmp_path, (0.2, 0.56, FILTER), command="autoprune trial digits --recovery-steps 7"))
    assert "keeps 56% of its parameters" in said and "20.00 %, dense 96.00 %" in said
    assert "--recovery-steps 70" in said


@pytest.mark.parametrize("quality, lost", [(1.9, False), (2.1, True)])
def test_of_a_number_to_be_minimised_twice_as_much_is_most(tmp_path, quality, lost):
    metric = Metric("rmse", direction="minimize")
    dense = {"rmse": 1.0, **{name: value for name, value in DENSE.items() if name != "accuracy"}}
    found = search(tmp_path, (quality, 0.56, FILTER), metric=metric, dense=dense)
    assert (too_short(found) is not None) == lost


def test_the_live_view_and_the_log_say_it(tmp_path, monkeypatch):
    found = search(tmp_path, (0.2, 0.56, FILTER))
    console = Console(file=io.StringIO(), width=200)
    now = Progress(found, "RUNNING", (), 1.0)
    console.print(live.picture(now))

    def follow(folder, port, show, prefix):
        for _ in range(2):
            show(now)
        return now

    monkeypatch.setattr(live, "follow", follow)
    assert console.file.getvalue().count("far too shortly") == 1
    live.watch(console, tmp_path, 1)
    assert console.file.getvalue().count("far too shortly") == 2  # once in the log, however often one looks


def test_a_search_from_python_warns_once(digits):
    task = replace(digits[0], recovery=replace(digits[0].recovery, steps=1, learning_rate=1.0, distillation=0.0))
    space = {"sparsity": [0.25, 0.3], "schedule": ["one_shot"]}
    space = {name: {"_type": "choice", "_value": values} for name, values in space.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        autoprune.run_search(task, trials=2, space=space, baselines=False, warm_start=False, rungs=False)
    (said,) = [str(each.message) for each in caught if "far too shortly" in str(each.message)]
    assert "--recovery-steps" in said
