"""Batch-norm re-estimation, fine-tuning and distillation, each on its own and together."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import make_task
from torch import nn

from autoprune.errors import TrialFailure, UserError
from autoprune.results.candidate import Candidate
from autoprune.task.recipe import Recipe
from autoprune.train import evaluation, loading, loop
from autoprune.trial.run import run_trial


@pytest.fixture(scope="module")
def tiny():
    return make_task()


def recover(tiny, recipe, **options):
    task, data, dense = tiny
    model = copy.deepcopy(dense.model)
    loop.train(task, model, data.train, recipe, **options)
    return model


def parameters(model):
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_batch_norm_reestimation_alone_changes_nothing_but_the_statistics(tiny):
    data = tiny[1].train
    recipe = Recipe(steps=0, batch_size=96, bn_reestimation=1)
    model = recover(tiny, recipe)
    assert same(parameters(model), parameters(tiny[2].model))
    with torch.no_grad():
        stem = model.stem(data.tensors[0])  # one batch of everything: the statistics are those of all data
    assert torch.allclose(model.stem_bn.running_mean, stem.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(model.stem_bn.running_var, stem.var((0, 2, 3)), rtol=1e-4)
    assert model.stem_bn.momentum == 0.1 and not model.training


def test_batch_norm_reestimation_is_a_plain_mean_over_its_batches(tiny):
    model = recover(tiny, Recipe(steps=0, batch_size=32, bn_reestimation=3))  # three batches are one epoch
    with torch.no_grad():
        stem = model.stem(tiny[1].train.tensors[0])
    assert torch.allclose(model.stem_bn.running_mean, stem.mean((0, 2, 3)), atol=1e-5)
    assert int(model.stem_bn.num_batches_tracked) == 3


def test_reestimation_mends_what_pruning_did_to_the_accuracy(tiny):
    """With statistics that are off, the accuracy is chance; re-estimated, it is what it was."""
    task, data, dense = tiny
    model = copy.deepcopy(dense.model)
    loop.train(task, model, data.train, Recipe(steps=150, batch_size=32, learning_rate=0.05))
    good = evaluation.quality(task, model, data.validation)
    for norm in (model.stem_bn, model.inner_bn):
        norm.running_mean.add_(20)
    assert evaluation.quality(task, model, data.validation) < 0.5 < 0.8 < good
    loop.train(task, model, data.train, Recipe(steps=0, batch_size=32, bn_reestimation=3))
    assert evaluation.quality(task, model, data.validation) > good - 0.05


def test_no_recovery_at_all_changes_nothing(tiny):
    model = recover(tiny, Recipe(steps=0))
    assert same(model.state_dict(), tiny[2].model.state_dict())


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_with_every_schedule_lowers_the_loss(tiny, optimizer, schedule):
    task, data, dense = tiny
    x, y = data.train.tensors
    rate = 0.05 if optimizer == "sgd" else 0.01
    model = recover(tiny, Recipe(steps=40, batch_size=32, learning_rate=rate, optimizer=optimizer, schedule=schedule))
    with torch.no_grad():
        assert task.loss(model(x), (x, y)) < 0.9 * task.loss(dense.model(x), (x, y))


@pytest.mark.parametrize(
    "optimizer, kind", [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_is_the_one_named(tiny, monkeypatch, optimizer, kind):
    made = []
    step = kind.step
    monkeypatch.setattr(kind, "step", lambda self, *args: made.append(self) or step(self, *args))
    recover(tiny, Recipe(steps=2, batch_size=32, learning_rate=0.004, weight_decay=0.07, optimizer=optimizer))
    assert len(made) == 2 and made[0].defaults["weight_decay"] == 0.07 and type(made[0]) is kind


@pytest.mark.parametrize(
    "schedule, rates",
    [
        ("constant", [0.1, 0.1, 0.1, 0.1]),
        ("cosine", [0.1, 0.0853553, 0.05, 0.0146447]),
        ("onecycle", [0.0969846, 0.0750001, 0.0413178, 0.0116981]),  # so few steps that the rise is over before
    ],
)
def test_learning_rates(tiny, monkeypatch, schedule, rates):
    seen = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self, *args: seen.append(self.param_groups[0]["lr"]) or step(self, *args)
    )
    recipe = Recipe(steps=4, batch_size=32, learning_rate=0.1, schedule=schedule)
    recover(tiny, recipe)
    assert seen == pytest.approx(rates, abs=1e-6)
    full, seen[:] = list(seen), []
    recover(tiny, recipe, start=2)  # the rest of the recipe starts where the first part would have ended
    assert seen == pytest.approx(full[2:], abs=1e-9)


def test_a_recipe_in_two_parts_sees_the_same_batches_and_without_momentum_is_the_whole(tiny):
    task, data, dense = tiny
    recipe = Recipe(steps=6, batch_size=16, learning_rate=0.02, momentum=0.0)
    whole = recover(tiny, recipe)
    parts = copy.deepcopy(dense.model)
    loop.train(task, parts, data.train, recipe, stop=4)
    assert not same(parameters(parts), parameters(whole))
    loop.train(task, parts, data.train, recipe, start=4)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(parts.parameters(), whole.parameters(), strict=True))


def test_distillation_alone_brings_the_student_to_the_teacher_and_not_to_the_labels(tiny):
    task, data, dense = tiny
    x, y = data.train.tensors
    teacher = dense.model  # untrained: it knows nothing of the labels
    student = task.build(seed=5)
    recipe = Recipe(steps=60, batch_size=32, learning_rate=0.05, distillation=1.0, temperature=1.0)

    def apart():
        with torch.no_grad():
            return float((student.eval()(x).softmax(-1) - teacher(x).softmax(-1)).abs().mean())

    before = apart()
    wrong = replace(task, loss=lambda outputs, batch: task.loss(outputs, batch) * 1e3)  # has no weight at all
    loop.train(wrong, student, data.train, recipe, teacher=teacher)
    assert apart() < 0.5 * before


def test_without_a_teacher_distillation_counts_for_nothing(tiny):
    plain = recover(tiny, Recipe(steps=3, batch_size=32))
    distilled = recover(tiny, Recipe(steps=3, batch_size=32, distillation=0.9))
    assert same(plain.state_dict(), distilled.state_dict())


def test_the_defaults_are_nesterov_sgd_on_one_cycle(tiny):
    """Results of earlier versions stay what they were: the recipe written out by hand."""
    task, data, dense = tiny
    model = copy.deepcopy(dense.model).train()
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=5, pct_start=0.1, cycle_momentum=False)
    for _, (x, y) in zip(range(4), loading.endless_batches(data.train, 32, 0), strict=False):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    assert same(model.state_dict(), recover(tiny, Recipe(steps=4, batch_size=32)).state_dict())


def test_all_together_in_a_trial(tiny):
    task, data, dense = tiny
    recovery = Recipe(
        steps=40, batch_size=32, optimizer="adamw", learning_rate=0.01, schedule="cosine", distillation=0.5,
        bn_reestimation=3,
    )  # fmt: skip
    result = run_trial(replace(task, recovery=recovery), Candidate(uniform=0.5), data, dense, round_to=1)
    assert result.measures["accuracy"] > 0.8
    assert int(result.model.stem_bn.num_batches_tracked) == 3  # re-estimated last
    none = replace(task, recovery=replace(recovery, steps=0, bn_reestimation=0))
    bare = run_trial(none, Candidate(uniform=0.5), data, dense, round_to=1)
    assert bare.measures["accuracy"] < result.measures["accuracy"]


def test_a_penalty_presses(tiny):
    hidden = []

    def train(weight):
        model = copy.deepcopy(tiny[2].model)
        penalty = (lambda: weight * model.hidden.weight.abs().sum()) if weight else None
        loop.train(tiny[0], model, tiny[1].train, Recipe(steps=10, batch_size=32), penalty=penalty)
        hidden.append(float(model.hidden.weight.detach().abs().sum()))

    train(0)
    train(0.1)
    assert hidden[1] < 0.8 * hidden[0]


@pytest.mark.parametrize("optimizer, rate", [("sgd", 1e12), ("adam", 1e30)])
def test_a_loss_that_is_no_number_is_a_failure(tiny, optimizer, rate):
    with pytest.raises(TrialFailure, match="the loss became (nan|inf) at step"):
        recover(tiny, Recipe(steps=20, batch_size=32, learning_rate=rate, optimizer=optimizer))


@pytest.mark.parametrize(
    "field, message",
    [
        ({"optimizer": "adma"}, "unknown optimizer 'adma': use sgd, adam, adamw"),
        ({"schedule": "step"}, "unknown learning-rate schedule 'step': use onecycle, cosine, constant"),
    ],
)
def test_an_unknown_name_is_refused(field, message):
    with pytest.raises(UserError, match=message):
        Recipe(steps=1, **field)
