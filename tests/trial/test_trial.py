"""Whole trials on real digits, with a short recovery."""

from dataclasses import replace

import pytest
import torch

from autoprune.errors import TrialFailure, UserError
from autoprune.results.candidate import Candidate
from autoprune.train import evaluation
from autoprune.trial.run import run_trial


def run(digits, candidate, **options):
    task, data, dense = digits
    return run_trial(task, candidate, data, dense, **options)


@pytest.mark.parametrize("criterion", ["l1_norm", "l2_norm", "fpgm"])
def test_a_structured_candidate_comes_back_smaller_and_faster_to_compute(digits, criterion):
    result = run(digits, Candidate(uniform=0.5, criterion=criterion))
    dense = digits[2].measures
    assert result.kept == {"stem.0": 16, "block.0.0": 16, "down.0": 32, "hidden": 32}
    assert result.model.stem[0].weight.shape == (16, 1, 3, 3)
    assert result.measures["params"] < 0.3 * dense["params"]
    assert result.measures["macs"] < 0.3 * dense["macs"]
    assert result.measures["bytes"] < 0.3 * dense["bytes"]
    assert result.measures["accuracy"] > 0.8


def test_the_accuracy_is_that_of_the_network_that_comes_back(digits):
    result = run(digits, Candidate(uniform=0.5))
    assert evaluation.quality(digits[0], result.model, digits[1].validation) == result.measures["accuracy"]


@pytest.mark.parametrize("schedule", ["one_shot", "gradual", "lottery_ticket"])
@pytest.mark.parametrize("criterion", ["l1_norm", "level"])
def test_the_same_trial_twice_gives_the_same_accuracy(digits, criterion, schedule):
    candidate = Candidate(uniform=0.5, criterion=criterion, schedule=schedule)
    first, second = run(digits, candidate), run(digits, candidate)
    assert first.measures["accuracy"] == second.measures["accuracy"]
    weights = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_each_group_gets_its_own_sparsity(digits):
    result = run(digits, Candidate({"stem.0": 0.75, "hidden": 0.875}))
    assert result.kept == {"stem.0": 8, "block.0.0": 32, "down.0": 64, "hidden": 8}


def test_an_unstructured_candidate_has_the_zeros_that_were_asked_for_and_the_dense_shape(digits):
    result = run(digits, Candidate(uniform=0.9, criterion="level"))
    weight = result.model.down[0].weight
    assert weight.shape == (64, 32, 3, 3)
    assert abs(int((weight == 0).sum()) - 0.9 * weight.numel()) <= 1
    assert result.measures["macs"] == digits[2].measures["macs"]  # zeros are multiplied like any other number
    assert result.measures["params"] < 0.2 * digits[2].measures["params"]


def test_a_lottery_ticket_starts_from_the_first_weights(digits):
    """With no training at all, what is left is the initialisation, cut down."""
    task, data, dense = digits
    task = replace(task, training=replace(task.training, steps=1, learning_rate=1e-12))
    result = run_trial(task, Candidate(uniform=0.5, criterion="level", schedule="lottery_ticket"), data, dense)
    kept = result.model.hidden.weight != 0
    assert torch.allclose(result.model.hidden.weight[kept], dense.initial["hidden.weight"][kept], atol=1e-6)
    assert not torch.allclose(result.model.hidden.weight[kept], dense.model.hidden.weight[kept], atol=1e-3)


def test_a_nan_loss_is_a_failure_with_a_reason(digits):
    task, data, dense = digits
    task = replace(task, recovery=replace(task.recovery, learning_rate=1e12))
    with pytest.raises(TrialFailure, match="the loss became (nan|inf)"):
        run_trial(task, Candidate(uniform=0.5), data, dense)


@pytest.mark.parametrize(
    "candidate, message",
    [
        (Candidate(criterion="l1"), "unknown criterion 'l1': use l1_norm"),
        (Candidate(schedule="oneshot"), "unknown schedule 'oneshot': use one_shot"),
        (Candidate({"stem": 0.5}), "no coupled group is called 'stem'"),
    ],
)
def test_an_unknown_name_is_refused(digits, candidate, message):
    with pytest.raises(UserError, match=message):
        run(digits, candidate)


@pytest.mark.parametrize("method", ["uniform", "global", "erk", "lamp"])
def test_one_number_is_spread_over_the_groups_by_an_allocation(digits, method):
    candidate = Candidate(uniform=0.6, allocation=method)
    assert Candidate.from_parameters(candidate.to_parameters()) == candidate
    result = run(digits, candidate, round_to=1)
    left = sum(p.numel() for p in result.model.parameters()) / digits[2].measures["params"]
    assert left == pytest.approx(0.4, abs=0.03)


def test_allocations_differ_in_how_they_spread(digits):
    kept = [run(digits, Candidate(uniform=0.6, allocation=m), round_to=1).kept for m in ("uniform", "erk")]
    assert kept[0] != kept[1]


def test_an_allocation_and_sparsities_of_single_groups_do_not_go_together():
    with pytest.raises(UserError, match="allocation erk spreads the one number"):
        Candidate({"hidden": 0.5}, uniform=0.5, allocation="erk")


def test_a_sparsity_that_would_empty_a_group_keeps_one_channel_and_says_so(digits):
    with pytest.warns(UserWarning, match="would empty group hidden of 64 channels: one is kept"):
        result = run(digits, Candidate({"hidden": 0.999}), round_to=1)
    assert result.kept["hidden"] == 1
