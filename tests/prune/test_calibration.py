"""Criteria that look at what passes through the network, on networks of which the right answer is known."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_llama import make_task as make_llama
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autoprune.errors import UserError
from autoprune.prune.allocation import allocate
from autoprune.prune.block_influence import block_influence
from autoprune.prune.blocks import Block
from autoprune.prune.criteria import Context, channel_order, channels_to_remove, choose_channels, weight_masks
from autoprune.prune.find import find_groups
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


class Units(nn.Module):
    """Four hidden units: the first never moves, the second is weak, the third is hardly read, the fourth matters."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.make, self.read = nn.Linear(4, 4), nn.Linear(4, 2, bias=bias)
        with torch.no_grad():
            self.make.weight.copy_(torch.tensor([0.0, 0.1, 2.0, 1.0]).diag())
            self.make.bias.copy_(torch.tensor([3.0, 0.0, 0.0, 0.0]))
            self.read.weight.copy_(torch.tensor([[1.0, 1.0, 0.01, 1.0], [-2.0, 1.0, 0.01, 1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.make(x))


def given(model: nn.Module, x: Tensor = X):
    data = TensorDataset(x, torch.zeros(len(x), dtype=torch.long))
    recipe = Recipe(steps=1, batch_size=16)
    task = Task(name="units", model=model, data=lambda: Splits(data, data, data), example=x[:1], recovery=recipe)
    return task, find_groups(model, x[:1]), Context(task, data, batches=4)


@pytest.mark.parametrize(
    ("criterion", "order"),
    [
        ("activation_norm", [1, 3, 2, 0]),  # how strong they are, whoever reads them
        ("wanda_sp", [2, 1, 3, 0]),  # and how much they are read
        ("flap", [0, 2, 1, 3]),  # only what moves
    ],
)
def test_channels_go_in_the_order_that_is_known(criterion, order):
    model = Units().eval()
    task, groups, context = given(model)
    assert channel_order(model, groups, criterion, context) == {"make": order}


@pytest.mark.parametrize("bias", [True, False])
def test_flap_keeps_the_mean_of_what_goes(bias):
    model = Units(bias).eval()
    before = copy.deepcopy(model.state_dict())
    task, groups, context = given(model)
    gone, judged = choose_channels(model, groups, "flap", {"make": 1}, context)
    smaller = remove_channels(judged, X[:1], groups, gone)
    assert gone == {"make": [0]} and torch.allclose(smaller(X), model(X), atol=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    again = rebuild(Units(bias), smaller.state_dict(), X[:1])
    assert torch.equal(again(X), smaller(X))


def test_wanda_leaves_each_output_its_own_share_and_counts_the_size_of_inputs():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(
            torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(3, 1) * torch.tensor([[1.0], [10.0], [100.0]])
        )
    task, groups, context = given(model, X * torch.tensor([100.0, 1.0, 1.0, 1.0]))
    mask = weight_masks(model, groups, "wanda", {"0": 0.5}, context)["0.weight"]
    assert mask.tolist() == [[1, 0, 0, 1]] * 3


def test_owl_leaves_layers_with_outliers_denser():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 2)).eval()
    with torch.no_grad():
        model[1].weight[:, 3] *= 40
    task, groups, context = given(model)
    spread = allocate(model, groups, 0.4, "owl", structured=False, context=context)
    assert spread["1"] < spread["0"] <= spread["1"] + 0.17
    with pytest.raises(UserError, match="owl looks at data"):
        allocate(model, groups, 0.4, "owl")


class Branch(nn.Module):
    """A residual block whose branch is as strong as said."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.branch, self.strength = nn.Linear(4, 4), strength

    def forward(self, x: Tensor) -> Tensor:
        return x + self.strength * self.branch(x)


def test_blocks_that_change_little_have_little_influence():
    torch.manual_seed(0)
    model = nn.Sequential(Branch(1.0), Branch(0.0), Branch(0.1), nn.Linear(4, 2)).eval()
    task, _, context = given(model)
    found = block_influence(task, model, [Block(str(i), 1, 1) for i in range(3)], [(X, None)])
    assert sorted(found, key=found.get) == ["1", "2", "0"] and found["1"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("criterion", ["activation_norm", "wanda_sp", "flap"])
def test_heads_units_and_the_width_of_a_llama_are_ranked_by_forward_passes(criterion):
    task = make_llama()
    model = task.build()
    groups = find_groups(model, task.example, allow_inexact=True)
    context = Context(task, task.splits().train, batches=2)
    remove = {group.name: group.channels // 2 for group in groups}
    gone = channels_to_remove(model, groups, criterion, remove, context)
    assert {name: len(units) for name, units in gone.items()} == remove
    judged = choose_channels(model, groups, criterion, remove, context)[1]
    assert remove_channels(judged, task.example, groups, gone)(task.example).logits.shape == (1, 10, 16)
