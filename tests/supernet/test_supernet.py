"""One recovery for all candidates: what a version computes, what the training gives it, and what a trial takes."""

import copy
from dataclasses import replace

import pytest
import torch

from autoprune.errors import UserError
from autoprune.prune.find import find_groups
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.supernet.subnets import LEVELS, Subnet, Subnets
from autoprune.train import evaluation, loop
from autoprune.trial.run import run_trial


@pytest.fixture(scope="module")
def subnets(digits):
    task, _, dense = digits
    return Subnets.ordered_by("l1_norm", dense.model, find_groups(dense.model, task.example_input))


def test_a_version_computes_what_the_removed_network_does_and_its_gradients_reach_the_shared_weights(digits, subnets):
    task, _, dense = digits
    removal = subnets.removals[0.5]
    subnet = Subnet(removal)
    x = torch.randn(4, 1, 8, 8)
    removed = remove_channels(dense.model, task.example_input, subnets.groups, removal)
    found = subnets.run(dense.model, subnet, lambda each: each(x))
    assert torch.allclose(found, removed(x), atol=1e-5)
    gradient = torch.autograd.grad(found.sum(), dense.model.hidden.weight)[0]
    rows = gradient.abs().sum(1) > 0
    assert rows.sum() <= 32 and not rows[removal["hidden"]].any() and rows.any()


def test_a_smaller_version_has_only_channels_that_a_larger_one_has(subnets):
    for less, more in zip(LEVELS, LEVELS[1:], strict=False):
        for group in subnets.groups:
            gone = (set(subnets.removals[level].get(group.name, [])) for level in (less, more))
            assert next(gone) <= next(gone)


def mean_accuracy(task, data, model, subnets) -> float:
    accuracies = []
    for level in (0.25, 0.5, 0.75):
        subnet = remove_channels(model, task.example_input, subnets.groups, subnets.removals[level])
        supernet.recalibrate(task, subnet, data)
        accuracies.append(evaluation.quality(task, subnet, data.validation))
    return sum(accuracies) / 3


def test_after_the_shared_training_versions_are_recovered_without_any_of_their_own(digits, subnets):
    task, data, dense = digits
    model = supernet.train_supernet(task, data, dense.model, subnets, replace(task.recovery, steps=80))
    before, after = (mean_accuracy(task, data, each, subnets) for each in (dense.model, model))
    assert after > before + 0.1
    assert evaluation.quality(task, model, data.validation) > dense.measures["accuracy"] - 0.03


def test_the_training_ends_when_the_check_says_so(digits, subnets):
    task, data, dense = digits
    steps = []
    recipe = replace(task.recovery, steps=1000)
    supernet.train_supernet(
        task, data, dense.model, subnets, recipe, check_every=2, on_check=lambda s, _: steps.append(s) or s == 4
    )
    assert steps == [2, 4]


def test_a_trial_on_the_supernet_has_what_was_asked_and_repeats_without_another_training(digits, cached):
    task, data, dense = digits
    candidate = Candidate({"hidden": 0.5, "stem.0": 0.25}, schedule="supernet")
    first = run_trial(task, candidate, data, dense)
    before = cached("supernet")
    second = run_trial(task, candidate, data, dense)
    assert before.items() <= cached("supernet").items()  # other tests add theirs meanwhile
    assert first.kept == {"stem.0": 24, "block.0.0": 32, "down.0": 64, "hidden": 32}
    assert first.model.hidden.weight.shape[0] == 32
    assert first.measures["accuracy"] == second.measures["accuracy"] > 0.8


def test_a_budget_fine_tunes_what_was_taken_from_the_shared_weights(digits):
    task, data, dense = digits
    cheap = Candidate({"stem.0": 0.5, "hidden": 0.75}, schedule="supernet", budget=0.0)
    judged, tuned = (run_trial(task, replace(cheap, budget=b), data, dense) for b in (0.0, 1.0))
    unsaid = run_trial(task, replace(cheap, budget=None), data, dense)
    weights = [each.model.head.weight for each in (judged, tuned, unsaid)]
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


def test_weights_between_the_dense_and_the_shared_ones_are_their_weighted_means(digits):
    _, _, dense = digits
    other = copy.deepcopy(dense.model)
    with torch.no_grad():
        other.head.weight += 1
    for part in (0.0, 0.25, 1.0):
        mixed = supernet.interpolate(dense.model, other, part)
        assert torch.allclose(mixed.head.weight, dense.model.head.weight + part)
        assert torch.equal(mixed.hidden.weight, dense.model.hidden.weight)


@pytest.mark.parametrize(("sparsity", "nearer"), [(0.1, True), (0.9, False)])
def test_training_further_begins_nearer_to_the_dense_weights_where_that_costs_little(
    digits, monkeypatch, sparsity, nearer
):
    task, data, dense = digits
    candidate = Candidate(uniform=sparsity, schedule="supernet")
    shared_head = run_trial(task, candidate, data, dense).model.head.bias
    began = []
    monkeypatch.setattr(loop, "train", lambda _task, model, *_, **__: began.append(model.head.bias.clone()))
    run_trial(task, replace(candidate, budget=1.0), data, dense)
    assert torch.allclose(began[0], torch.lerp(dense.model.head.bias, shared_head, 0.5 if nearer else 1.0))


def test_single_weights_cannot_be_recovered_together(digits):
    task, data, dense = digits
    with pytest.raises(UserError, match="schedule supernet recovers all channel candidates at once"):
        run_trial(task, Candidate(uniform=0.5, criterion="level", schedule="supernet"), data, dense)


def test_its_length_can_be_said(digits, monkeypatch):
    task, data, dense = digits
    monkeypatch.setattr("autoprune.supernet.subnets.LEVELS", (0.0, 0.5))
    short = replace(task, supernet_steps=3)
    found = supernet.load_or_train(short, data, dense, dense.groups, "l2_norm")
    order = supernet.order(task, data, dense.model, dense.groups, "l2_norm")
    trained = supernet.train_supernet(
        task, data, dense.model, Subnets.in_order(order, dense.groups), replace(supernet.supernet_recipe(task), steps=3)
    )
    assert torch.equal(found.head.weight, trained.head.weight)
    assert supernet.supernet_recipe(task).steps == supernet.LENGTH * task.recovery.steps
