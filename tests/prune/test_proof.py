"""The proof of a removal: on random weights and inputs, as in evaluation and as in training, or it is none."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from models import CASES
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.prune.find import find_groups
from autoprune.prune.outputs import outputs
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.random_values import random_input, randomise


class Odd(nn.Module):
    """A branch whose hidden units go through a function of their number, which no rule sees; then a plain layer."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], bias: bool = True) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(6, 16, bias=bias), nn.Linear(16, 6, bias=bias)
        self.plain, self.head = nn.Linear(6, 10, bias=bias), nn.Linear(10, 3, bias=bias)
        self.scale, self.norm = nn.Parameter(torch.ones(6)), nn.BatchNorm1d(6)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        inner = self.narrow(self.function(self, self.wide(x).relu()))
        return self.head(self.plain(x + self.norm(self.scale * inner)).relu())


def mean(model: nn.Module, x: Tensor) -> Tensor:
    return x / x.shape[-1]


def layer_norm(model: nn.Module, x: Tensor) -> Tensor:
    return x - x.numpy().mean().item()


def softmax(model: nn.Module, x: Tensor) -> Tensor:
    return x / np.exp(x.numpy()).sum().item()


def spoil(model: Odd, how: str) -> Tensor:
    """Make the branch invisible to a comparison on the network's own weights, and return an example."""
    example = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        if how == "layer scale":
            model.scale.fill_(1e-6)
        elif how == "last norm":
            model.norm.weight.zero_()
        else:
            example.zero_()
    return example


@pytest.mark.parametrize("how", ["zeros", "layer scale", "last norm"])
@pytest.mark.parametrize("function", [mean, layer_norm, softmax])
def test_a_function_of_the_width_is_found_where_the_network_itself_hides_it(function, how: str) -> None:
    torch.manual_seed(0)
    model = Odd(function, bias=how != "zeros").eval()
    groups = find_groups(model, spoil(model, how))
    assert [group.name for group in groups] == ["plain"], groups.left_alone
    assert groups.left_alone["wide"].startswith("removing it changes the function (relative error")


def test_a_branch_that_the_given_weights_hide_is_still_pruned() -> None:
    torch.manual_seed(0)
    model = Odd(lambda model, x: x).eval()
    groups = find_groups(model, spoil(model, "last norm"))
    assert [group.name for group in groups] == ["wide", "plain"]


def test_an_output_that_does_not_depend_on_a_group_is_no_proof_of_it() -> None:
    torch.manual_seed(0)
    model = Odd(lambda model, x: x * 0)
    groups = find_groups(model, torch.randn(2, 6))
    assert [group.name for group in groups] == ["wide", "plain"], "together they show, and zero is exact"

    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) * 0

    groups = find_groups(Nothing(), torch.randn(2, 4))
    assert not len(groups)
    assert groups.left_alone["a"].startswith("nothing proves its removal")


def fails_in_training(model: nn.Module, x: Tensor) -> Tensor:
    return x.view(-1, 16) if model.training else x


def mean_in_training(model: nn.Module, x: Tensor) -> Tensor:
    return x * (16 / x.shape[-1]) if model.training else x


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (fails_in_training, "its removal fails in training: the pruned network does not run"),
        (mean_in_training, "removing it changes the function in training (relative error"),
    ],
)
def test_a_path_of_training_that_depends_on_the_width_is_found(function, reason: str) -> None:
    torch.manual_seed(0)
    model = Odd(function).eval()
    before = copy.deepcopy(model.state_dict())
    groups = find_groups(model, torch.randn(2, 6))
    assert [group.name for group in groups] == ["plain"], groups.left_alone
    assert groups.left_alone["wide"].startswith(reason)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())


def test_dropout_and_noise_in_training_keep_no_group_back() -> None:
    def noisy(model: nn.Module, x: Tensor) -> Tensor:
        if not model.training:
            return x
        x = F.alpha_dropout(F.dropout(x, 0.5), 0.2)
        return x + torch.randn_like(x) * torch.empty_like(x).uniform_(0, 2) * torch.bernoulli(x.sigmoid())

    groups = find_groups(Odd(noisy), torch.randn(1, 6))
    assert [group.name for group in groups] == ["wide", "plain"], groups.left_alone


def test_an_operator_without_a_double_kernel_is_compared_in_single_precision() -> None:
    def single(model: nn.Module, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError("not implemented for 'Double'")
        return x

    torch.manual_seed(0)
    model, example = randomise(Odd(single)).eval(), torch.randn(2, 6)
    groups = find_groups(model, example)
    error = equivalence_error(model, example, groups, {group.name: half(group) for group in groups})
    assert 0 <= error < 1e-5
    assert next(model.parameters()).dtype == torch.float32


def test_the_comparison_can_be_made_as_in_training() -> None:
    torch.manual_seed(0)
    model, example = randomise(Odd(mean_in_training)).eval(), torch.randn(2, 6)
    groups = find_groups(model, example, verify=False)
    removed = {"wide": half(groups["wide"])}
    assert equivalence_error(model, example, groups, removed) < 1e-9
    assert equivalence_error(model, example, groups, removed, training=True) > 1e-3


def test_the_global_generator_is_given_back() -> None:
    model = Odd(lambda model, x: F.dropout(x, 0.5))
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    outputs(model, torch.randn(2, 6, generator=torch.Generator()), training=True)
    randomise(model)
    random_input(model, torch.zeros(2, 6))
    assert torch.equal(torch.rand(3), wanted)


def test_random_inputs_are_of_the_examples_kind() -> None:
    model = nn.Embedding(7, 2)
    example = {
        "ids": torch.tensor([[5, 9, 9]]),
        "zeros": torch.zeros(1, 40, dtype=torch.int64),
        "attention_mask": torch.ones(1, 3, dtype=torch.int64),
        "bool": torch.tensor([True]),
        "image": torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        "nested": ([torch.zeros(50, dtype=torch.float64)], 3),
        "bias": torch.tensor([0.0, -torch.inf]),
    }
    drawn = random_input(model, example)
    assert drawn["ids"].shape == (1, 3) and drawn["ids"].min() >= 5 and drawn["ids"].max() <= 9
    assert drawn["zeros"].unique().tolist() == list(range(7))
    assert all(drawn[name] is example[name] for name in ("attention_mask", "bool", "bias"))
    assert drawn["image"].dtype == torch.uint8 and drawn["image"].float().std() > 10
    assert drawn["nested"][0][0].dtype == torch.float64 and drawn["nested"][0][0].std() > 0.5
    assert drawn["nested"][1] == 3


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3", "vgg", "vit", "swin_v2", "convnext", "maxvit"])
def test_random_weights_are_of_healthy_size(name: str) -> None:
    model = randomise(CASES[name].build())
    for parameter in model.parameters():
        assert parameter.abs().max() > 0
    found = outputs(model, torch.randn(CASES[name].example().shape))[0]
    assert found.isfinite().all() and 1e-3 < found.std() < 1e4


def test_tied_weights_stay_tied_and_masks_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model.register_buffer("mask", torch.ones(4, 4))
    randomise(model)
    assert model[1].weight is model[0].weight
    assert torch.equal(model.mask, torch.ones(4, 4))


def test_the_experts_of_mixtral_are_compared_although_their_operator_knows_no_double_precision() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "num_local_experts": 4, "intermediate_size": 64}
    model = randomise(transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **more))).eval()
    ids = torch.randint(50, (2, 9))
    groups = find_groups(model, ids)
    assert len(groups)
    assert equivalence_error(model, ids, groups, {group.name: half(group) for group in groups}) < 1e-4


class Chain(nn.Module):
    """Layers in a row with a residual add each; every second one cuts its hidden units at a number of its own."""

    def __init__(self, fault: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.Linear(8, 12) for _ in range(16))
        self.downs = nn.ModuleList(nn.Linear(12, 8) for _ in range(16))
        self.head, self.fault, self.runs = nn.Linear(8, 3), fault, [0]

    def __deepcopy__(self, memo):
        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        new.__dict__ = {name: copy.deepcopy(value, memo) for name, value in self.__dict__.items() if name != "runs"}
        new.runs = self.runs  # counted over all copies
        return new

    def forward(self, x: Tensor) -> Tensor:
        self.runs[0] += 1
        for i, (up, down) in enumerate(zip(self.ups, self.downs, strict=True)):
            inner = up(x).relu()
            x = x + down(self.fault(inner) if i % 2 else inner)
        return self.head(x)


@pytest.mark.parametrize(
    ("fault", "reason", "runs"),
    [  # by halves it is 94 and 164 runs
        (lambda x: x.view(-1, 12), "its removal fails: the pruned network does not run", 30),
        (lambda x: x / x.shape[-1], "removing it changes the function (relative error", 80),
    ],
)
def test_who_is_guilty_is_read_off_the_failure_and_not_searched_for_by_halves(fault, reason: str, runs: int) -> None:
    torch.manual_seed(0)
    model = Chain(fault).eval()
    groups = find_groups(model, torch.randn(1, 8))
    assert [group.name for group in groups] == [f"ups.{i}" for i in range(0, 16, 2)]
    assert all(groups.left_alone[f"ups.{i}"].startswith(reason) for i in range(1, 16, 2))
    assert model.runs[0] <= runs
