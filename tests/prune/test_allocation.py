"""One number for the whole network becomes a sparsity for each group that adds up to it."""

import pytest
import torch
from tiny import make_groups, make_task
from torch import nn
from torch.utils.data import TensorDataset

from autoprune.errors import UserError
from autoprune.prune.allocation import METHODS, allocate
from autoprune.prune.criteria import Context, channels_to_remove, weight_masks
from autoprune.prune.find import find_groups
from autoprune.prune.removal import remove_channels
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task


class Wide(nn.Module):
    """Channels enough that rounding to whole ones matters little; a concatenation, and a group of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 64, 3, padding=1)
        self.b = nn.Conv2d(3, 96, 1)
        self.norm = nn.BatchNorm2d(96)
        self.c = nn.Conv2d(160, 128, 3, padding=1)
        self.hidden = nn.Linear(128 * 4, 100)
        self.head = nn.Linear(100, 10)

    def forward(self, x):
        x = torch.cat([self.a(x).relu(), self.norm(self.b(x)).relu()], 1)
        x = nn.functional.adaptive_avg_pool2d(self.c(x).relu(), 2)
        return self.head(self.hidden(x.flatten(1)).relu())


@pytest.fixture(scope="module")
def wide():
    torch.manual_seed(0)
    model = Wide().eval()
    return model, find_groups(model, torch.zeros(1, 3, 8, 8))


def looked_at(model):
    """Return data for the methods that look at it."""
    data = TensorDataset(torch.randn(16, 3, 8, 8), torch.arange(16) % 10)
    splits, recipe = Splits(data, data, data), Recipe(steps=1, batch_size=8)
    return Context(Task(name="wide", model=model, data=lambda: splits, example=data[0][0][None], recovery=recipe), data)


def total(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 0.95])
@pytest.mark.parametrize("method", METHODS)
def test_that_many_parameters_go_with_whole_channels(wide, method, ratio):
    model, groups = wide
    sparsity = allocate(model, groups, ratio, method, context=looked_at(model))
    remove = {group.name: round(sparsity[group.name] * group.channels) for group in groups}
    smaller = remove_channels(
        model, torch.zeros(1, 3, 8, 8), groups, channels_to_remove(model, groups, "l1_norm", remove)
    )
    assert 1 - total(smaller) / total(model) == pytest.approx(ratio, abs=0.012)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 0.95])
@pytest.mark.parametrize("method", METHODS)
def test_that_many_parameters_go_with_single_weights(wide, method, ratio):
    model, groups = wide
    masks = weight_masks(model, groups, "level", allocate(model, groups, ratio, method, False, looked_at(model)))
    gone = sum(int((mask == 0).sum()) for mask in masks.values())
    assert gone / total(model) == pytest.approx(ratio, abs=1e-4)


def test_uniform_gives_every_group_the_same(wide):
    assert len(set(allocate(*wide, 0.5, "uniform").values())) == 1


def test_erk_is_in_proportion_to_the_sum_over_the_product_of_dimensions(wide):
    model, groups = wide
    sparsity = allocate(model, groups, 0.9, "erk", structured=False)
    c, hidden = 1 - sparsity["c"], 1 - sparsity["hidden"]
    shapes = [(128 + 160 + 3 + 3) / (128 * 160 * 9), (100 + 512) / (100 * 512)]
    assert c / hidden == pytest.approx(shapes[0] / shapes[1], rel=1e-3)
    assert c < hidden < 1 - sparsity["a"]


@pytest.mark.parametrize("structured", [True, False])
def test_global_takes_from_where_the_weights_are_small_and_lamp_does_not_care(structured):
    task, _, dense = make_task()
    model, groups = dense.model, make_groups(dense, task)
    before = {method: allocate(model, groups, 0.3, method, structured) for method in ("global", "lamp")}
    with torch.no_grad():
        model.hidden.weight *= 1e-2
    after = {method: allocate(model, groups, 0.3, method, structured) for method in ("global", "lamp")}
    assert after["lamp"] == before["lamp"]
    assert after["global"]["hidden"] > 0.8 > before["global"]["hidden"]


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_no_group_is_emptied(wide, method, structured):
    model, groups = wide
    sparsity = allocate(model, groups, 0.97, method, structured, looked_at(model))
    assert all(0 <= sparsity[group.name] * group.channels <= group.channels - structured for group in groups)


@pytest.mark.parametrize(
    "ratio, method, message",
    [
        (0.5, "unifrom", "unknown allocation 'unifrom': use uniform"),
        (1.0, "uniform", r"must be a number in \[0, 1\)"),
        (0.9999, "erk", "99.99% of the parameters cannot go: the groups that can be pruned hold 99.3"),
    ],
)
def test_what_cannot_be_is_refused(wide, ratio, method, message):
    with pytest.raises(UserError, match=message):
        allocate(*wide, ratio, method, structured=False)
