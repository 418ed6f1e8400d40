"""Each use of chance has a stream of its own: none repeats another's, or the initial weights."""

import random

import numpy as np
import pytest
import torch
from tiny import make_groups, make_task

from autoprune.base import streams
from autoprune.prune.criteria import CRITERIA, Context, channel_order, channels_to_remove, weight_masks
from autoprune.prune.criteria.base import Request
from autoprune.prune.masks import DynamicMasks

ALL = {"stem": 4, "inner": 6, "hidden": 8}


@pytest.fixture(scope="module")
def tiny():
    task, data, dense = make_task()
    return task, data, dense, make_groups(dense, task)


def scores(tiny, criterion, seed, model=None, names=tuple(ALL)):
    task, data, dense, groups = tiny
    asked = tuple(group for group in groups if group.name in names)
    context = Context(task, data.train, seed)
    request = Request(model or dense.model, asked, dict.fromkeys(ALL, 0.5), context, tuple(groups))
    return CRITERIA[criterion].score(request)


def correlation(one, other) -> float:
    return float(np.corrcoef(one.flatten().tolist(), other.flatten().tolist())[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_weights_by_chance_have_nothing_to_do_with_the_initial_ones(tiny, seed):
    model = tiny[0].build(seed)
    for name, found in scores(tiny, "random_weights", seed, model).items():
        limit = 4 / found.numel() ** 0.5  # four standard deviations
        assert abs(correlation(found, model.get_parameter(name).detach())) < limit, name


@pytest.mark.parametrize("seed", range(3))
def test_pruning_by_chance_before_training_keeps_no_larger_weights(tiny, seed):
    model = tiny[0].build(seed)
    masks = weight_masks(model, tiny[3], "random_weights", {"inner": 0.5}, Context(tiny[0], tiny[1].train, seed))
    weight, kept = model.inner.weight.detach(), masks["inner.weight"].bool()
    assert abs(float(weight[kept].mean() - weight[~kept].mean())) < 0.2 * float(weight.std())


def test_a_groups_order_by_chance_does_not_depend_on_which_others_are_asked_for(tiny):
    task, data, dense, groups = tiny
    context = Context(task, data.train, seed=0)
    together = channels_to_remove(dense.model, groups, "random", ALL, context)
    for name, count in ALL.items():
        alone = channels_to_remove(dense.model, groups, "random", {name: count}, context)
        assert alone == {name: together[name]}
        assert together[name] == sorted(channel_order(dense.model, groups, "random", context)[name][:count])
    assert torch.equal(
        scores(tiny, "random_weights", 0)["hidden.weight"],
        scores(tiny, "random_weights", 0, names=("hidden",))["hidden.weight"],
    )


def test_where_weights_grow_has_nothing_to_do_with_where_they_went_or_how_they_began(tiny):
    layer = torch.nn.Linear(100, 100, bias=False)
    with streams.seeded(0):
        layer.reset_parameters()
    began = layer.weight.detach().clone()
    gone = torch.rand(100, 100, generator=streams.generator(0, "random_weights", "weight"))
    moving = DynamicMasks(layer, {"weight": (gone > 0.5).float()}, "random", steps=20, fraction=1.0, seed=0)
    before = moving.masks["weight"].clone()
    layer.weight.grad = torch.ones(100, 100)
    moving.before_step()
    dead = before == 0
    grown = (moving.masks["weight"] * dead)[dead]
    assert 0 < grown.sum() < dead.sum()
    assert abs(correlation(grown, began[dead])) < 0.06 and abs(correlation(grown, gone[dead])) < 0.06


def test_streams_differ_by_seed_and_by_purpose_and_repeat():
    def draw(*which):
        return torch.rand(1000, generator=streams.generator(*which))

    uses = [(0, "a"), (1, "a"), (0, "b"), (0, "a", "b"), (0, "ab"), (0,)]
    drawn = [draw(*use) for use in uses]
    assert all(torch.equal(draw(*use), numbers) for use, numbers in zip(uses, drawn, strict=True))
    drawn.append(torch.rand(1000, generator=torch.Generator().manual_seed(0)))
    for i, one in enumerate(drawn):
        assert all(abs(correlation(one, other)) < 0.15 for other in drawn[:i])


def test_a_seeded_stretch_draws_what_it_always_drew_and_gives_the_generator_back():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(3)
    ours = torch.rand(3)
    torch.manual_seed(7)
    before = random.getstate()
    with streams.seeded(3):
        assert torch.equal(torch.rand(3), ours)
    assert torch.equal(torch.rand(3), expected) and random.getstate() == before
