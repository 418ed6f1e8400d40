"""Precision, clipped and accumulated gradients, averaged weights."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import make_task

from autoprune import Recipe, UserError
from autoprune.results.settings import TrialCommand
from autoprune.train import evaluation, loop
from autoprune.trial.setup import settings_task

SHORT = Recipe(steps=40, batch_size=32, learning_rate=0.05)


@pytest.fixture
def tiny():
    return make_task()


def trained(tiny, recipe):
    task, data, dense = tiny
    model = copy.deepcopy(dense.model)
    loop.train(task, model, data.train, recipe)
    return model


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_two_half_batches_make_the_step_of_a_whole_one_where_no_batch_norm_looks_at_the_batch(tiny):
    task, data, dense = tiny
    found = []
    for size, parts in ((32, 1), (16, 2)):
        model = copy.deepcopy(dense.model).requires_grad_(False)
        model.head.requires_grad_(True)
        for layer in model.modules():
            layer.train = lambda mode=True, layer=layer: layer  # all stay in evaluation mode
        loop.train(task, model, data.train, replace(SHORT, steps=3, batch_size=size, accumulation=parts))
        found.append(weights(model))
    assert torch.allclose(*found, atol=1e-5) and not torch.allclose(found[0], weights(dense.model), atol=1e-3)


def test_bf16_trains_as_well_and_leaves_the_weights_in_fp32(tiny):
    task, data, dense = tiny
    model = trained(tiny, replace(SHORT, precision="bf16"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    full = trained(tiny, SHORT)
    assert not torch.equal(weights(model), weights(full))
    losses = [evaluation.quality_and_loss(task, each, data.validation)[1] for each in (dense.model, full, model)]
    assert losses[2] < losses[1] + 0.2 * (losses[0] - losses[1])


def test_gradients_are_clipped_to_the_norm(tiny):
    moved = [
        (weights(trained(tiny, replace(SHORT, steps=1, momentum=0.0, weight_decay=0.0, clip=clip))) - before).norm()
        for before in [weights(tiny[2].model)]
        for clip in (None, 0.01)
    ]
    assert moved[1] <= 0.05 * 0.01 * 1.01 < moved[0]


def test_averaged_weights_lie_behind_the_last_ones(tiny):
    start = weights(tiny[2].model)
    last, mean = (weights(trained(tiny, replace(SHORT, averaging=decay))) for decay in (0.0, 0.99))
    assert 0 < (mean - start).norm() < (last - start).norm()


@pytest.mark.parametrize(("averaging", "calls"), [(0.0, 5), (0.99, 6)])
def test_what_follows_a_step_follows_each_step_once_and_the_averaged_weights(tiny, averaging, calls):
    task, data, dense = tiny
    called = []
    recipe = replace(SHORT, steps=5, averaging=averaging)
    loop.train(task, copy.deepcopy(dense.model), data.train, recipe, after_step=lambda: called.append(1))
    assert len(called) == calls


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "int4"}, "unknown precision"),
        ({"accumulation": 0}, "accumulation must be 1 or more"),
        ({"averaging": 1.0}, "averaging must be"),
        ({"clip": 0.0}, "clip must be more than 0"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        Recipe(steps=1, **wrong)


def test_the_trial_command_sets_the_precision_of_both_recipes():
    task = settings_task(TrialCommand.parse("autoprune trial digits --precision bf16"))
    assert (task.training.precision, task.recovery.precision) == ("bf16", "bf16")
    with pytest.raises(UserError, match="precision fp16 needs a GPU"):
        settings_task(TrialCommand.parse("autoprune trial digits --precision fp16"))
    with pytest.raises(UserError, match="--precision"):
        TrialCommand.parse("autoprune trial digits --precision int4")


def test_fp16_is_refused_on_the_cpu(tiny):
    with pytest.raises(UserError, match="precision fp16 needs a GPU"):
        trained(tiny, replace(SHORT, precision="fp16"))


def test_a_fit_of_the_tasks_own_repeats_whatever_it_draws_from_and_leaves_the_generators_alone(tiny):
    task, data, dense = tiny
    drawn = []
    task = replace(
        task, fit=lambda model, steps: drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    )
    random.seed(5)
    np.random.seed(5)
    for seed in (1, 1, 2):
        loop.train(task, copy.deepcopy(dense.model), data.train, SHORT, seed)
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.random() == random.Random(5).random() and np.random.rand() == np.random.RandomState(5).rand()
