"""What searching was worth: the chosen network beside equal sparsities of its size, trained as long."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.finalize.final import Final
from autoprune.finalize.fine_tuning import fine_tune_all
from autoprune.finalize.worth import worth_of
from autoprune.prune.size_model import size_model
from autoprune.report.rows import front_rows
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.measures import ACCURACY, Metric
from autoprune.results.worth import Worth


def worth(own, rival):
    tuned = [FineTuned(0.9, tuple(test), tuple(test), Path("model.pt"), 10) for test in (rival, own)]
    return Worth(None, 0.58, *tuned, 1.02, "macs")


def test_the_gain_is_a_difference_of_means_with_welchs_interval():
    gain, low, high = worth([0.92, 0.93, 0.94], [0.90, 0.91, 0.92]).gain(ACCURACY)
    assert gain == pytest.approx(0.02)
    half = 2.776 * math.sqrt(2e-4 / 3)  # of Student's t with four degrees of freedom
    assert (low, high) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-4)
    assert worth([0.9, 0.9], [0.8, 0.8]).gain(ACCURACY) == pytest.approx((0.1, 0.1, 0.1))
    rmse = Metric("own_rmse", "minimize")
    assert worth([1.0, 1.0], [1.5, 1.5]).gain(rmse)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("own", "rival", "verdict"),
    [
        ([0.92, 0.92, 0.93], [0.90, 0.90, 0.91], "Searching was worth its time"),
        ([0.92, 0.90, 0.93], [0.91, 0.92, 0.90], "Equal sparsities would have done"),
        ([0.80, 0.80, 0.81], [0.90, 0.90, 0.91], "Equal sparsities would have been better"),
        ([0.9], [0.8], "One seed cannot tell"),
    ],
)
def test_the_sentence_says_what_the_interval_does(own, rival, verdict):
    sentence = worth(own, rival).sentence(ACCURACY)
    assert sentence.startswith(verdict) and "58.0% of each group, 1.02x the macs" in sentence
    assert ("95 % interval" in sentence) == (len(own) > 1)


def test_the_rival_has_equal_sparsities_the_same_recipe_and_nearly_the_size(digits_search, tmp_path):
    experiment = replace(digits_search, folder=tmp_path)
    chosen, own, found = next(
        (trial, own, found)
        for trial in experiment.candidates
        for own in [fine_tune_all(experiment, experiment.loaded, [trial], 2)[trial.id]]
        if not (found := worth_of(experiment, experiment.loaded, trial, own, 2)).is_equal
    )
    sparsities = {v for k, v in found.trial.parameters.items() if k.startswith("sparsity.")}
    assert sparsities == {found.sparsity}
    assert {k for k in found.trial.parameters} == {k for k in chosen.parameters}
    assert 0.8 < found.size < 1.25  # channels come in eights
    assert found.size == found.trial.metrics["macs"] / chosen.metrics["macs"]
    assert (len(found.rival.test), found.rival.steps) == (2, own.steps)
    final = Final(chosen, "by hand", fine_tuned={chosen.id: own}, worth=found)
    (row,) = [row for row in front_rows(experiment, final) if row.kind == "equal"]
    assert row.test == experiment.metric.spread(found.rival.test) and "trained as long" in row.about
    again = worth_of(experiment, experiment.loaded, chosen, own, 2)
    assert again.rival == found.rival and again.trial.metrics == found.trial.metrics  # it is on record


def test_a_network_that_keeps_what_equal_sparsities_leave_has_no_rival(digits_search, tmp_path):
    experiment = replace(digits_search, folder=tmp_path)
    chosen, own = experiment.candidates[0], FineTuned(0.9, (0.9,), (0.9,), Path("model.pt"), 1)
    equal = {name: 0.5 for name in chosen.parameters if name.startswith("sparsity.")}
    task, _, dense = experiment.loaded
    size = size_model(dense.model, task.example, dense.groups).sizes({group.name: 0.5 for group in dense.groups})
    trial = replace(chosen, parameters=chosen.parameters | equal, metrics=chosen.metrics | size)
    found = worth_of(experiment, experiment.loaded, trial, own, 1)
    assert found.is_equal and "leaves just the channels" in found.sentence(ACCURACY)
    final = Final(trial, "by hand", fine_tuned={trial.id: own}, worth=found)
    assert not [row for row in front_rows(experiment, final) if row.kind == "equal"]


def test_single_weights_have_no_rival(digits_search, tmp_path):
    experiment = replace(digits_search, folder=tmp_path)
    chosen, own = experiment.candidates[0], FineTuned(0.9, (0.9,), (0.9,), Path("model.pt"), 1)
    level = replace(chosen, parameters=chosen.parameters | {"criterion": "level", "schedule": "one_shot"})
    assert worth_of(experiment, experiment.loaded, level, own, 1) is None
