"""What find_groups finds, leaves alone, and says about it."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as tv
from models import CASES
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.prune.find import find_groups
from autoprune.prune.graph import propagation
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.random_values import randomise
from autoprune.prune.removal import remove_channels


def groups_of(name: str, **options):
    torch.manual_seed(0)
    model, example = randomise(CASES[name].build()).eval(), CASES[name].example()
    return model, example, find_groups(model, example, **options)


def test_grouped_convolutions_lose_whole_groups_or_the_same_places() -> None:
    _, _, resnext = groups_of("resnext")  # 32 groups of 4: whole groups
    assert resnext["layer1.0.conv1"].channels == 32
    _, _, regnet = groups_of("regnet_y")  # stage 2: 13 groups of 8; stage 1: 6 groups of 8, so 8 places
    assert regnet["trunk_output.block1.block1-0.f.a.0"].channels == 8
    assert regnet["trunk_output.block2.block2-0.f.a.0"].channels == 13


def test_attention_loses_whole_heads() -> None:
    _, _, groups = groups_of("vit")
    heads = groups["encoder.layers.encoder_layer_0.self_attention"]
    assert heads.channels == 4
    assert not heads.plain
    rows = heads.rows["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"]
    assert (rows == 1).nonzero().flatten().tolist() == [*range(8, 16), *range(40, 48), *range(72, 80)]


def test_channels_under_a_layer_norm_are_left_alone_by_name_unless_asked_for() -> None:
    model, example, groups = groups_of("convnext")
    assert "LayerNorm" in groups.left_alone["features.0.0"]
    _, _, all_groups = groups_of("convnext", allow_inexact=True)
    assert not all_groups["width:features.0.0"].exact
    assert all_groups["features.1.0.block.3"].exact
    smaller = remove_channels(model, example, all_groups, {group.name: half(group) for group in all_groups})
    assert smaller.features[0][0].out_channels == 8
    assert smaller.features[0][1].normalized_shape == (8,)


def test_output_and_kept_layers_are_left_alone() -> None:
    _, _, groups = groups_of("resnet20", keep=("layer1.0.conv1",))
    assert groups.left_alone["fc"] == "it is the model's output"
    assert groups.left_alone["layer1.0.conv1"] == "layer1.0.conv1 is to be kept"


def test_an_operation_that_is_not_understood_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x).relu()).sort(-1).values)

    groups = find_groups(Odd(), torch.randn(1, 4))
    assert [group.name for group in groups] == ["a"]
    assert groups.left_alone["b"] == "it passes through sort, which is not understood"


def test_a_size_fixed_in_forward_is_found_by_the_check() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
            self.c = nn.Linear(4 * 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x).relu()).view(-1, 4 * 64))

    groups = find_groups(Fixed(), torch.randn(1, 1, 8, 8))
    assert [group.name for group in groups] == ["a"]
    assert groups.left_alone["b"].startswith("its removal fails: the pruned network does not run")


def test_a_concat_with_the_input_and_a_channel_pad_keep_their_places() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(11, 16, 1), nn.Conv2d(16, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            first = self.a(x)
            second = self.b(torch.cat([x, first], 1)) + F.pad(first, (0, 0, 0, 0, 4, 4))
            return self.c(second.relu()).mean((2, 3))

    groups = find_groups(Padded(), torch.randn(1, 3, 4, 4))
    assert groups["a"].channels == 8
    assert groups["a"].producers == ("a", "b")
    assert groups["a"].rows["b.weight"].tolist() == [-1] * 4 + list(range(8)) + [-1] * 4


def test_training_mode_and_weights_are_left_as_they_were() -> None:
    model = CASES["lenet"].build().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    find_groups(model, CASES["lenet"].example())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(propagation, "LIMIT", 100)
    _, _, groups = groups_of("swin", verify=False)
    assert any("MB" in why for why in groups.left_alone.values())


def test_heads_that_only_training_uses_follow() -> None:
    """GoogLeNet's auxiliary classifiers run in training only: they must fit the smaller network all the same."""
    torch.manual_seed(0)
    model, example = tv.googlenet(aux_logits=True, num_classes=5, init_weights=False), torch.randn(1, 3, 64, 64)
    statistics = model.conv1.bn.running_mean.clone()
    groups = find_groups(model, example)
    assert "aux1.conv.conv" in [group.name for group in groups]
    assert torch.equal(statistics, model.conv1.bn.running_mean)
    smaller = remove_channels(model, example, groups, {group.name: half(group) for group in groups}).train()
    assert [tuple(out.shape) for out in smaller(torch.cat([example, example]))] == [(2, 5)] * 3


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.lstm = nn.Linear(5, 16), nn.LSTM(16, 12, batch_first=True)
        self.b, self.c = nn.Linear(12, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.lstm(self.a(x))[0][:, -1]).relu())


class Upscaler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 32, 3, padding=1)
        self.norm, self.one_slope, self.c = nn.InstanceNorm2d(8, affine=True), nn.PReLU(), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.pixel_shuffle(self.b(self.act(self.a(x))), 2)
        return F.interpolate(x, scale_factor=2) + self.c(self.one_slope(self.norm(fine)))


class SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate = nn.Conv2d(3, 16, 3), nn.Conv2d(3, 1, 3)
        self.b, self.c = nn.Conv2d(16, 24, 3), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).relu() * self.gate(x).sigmoid()).amax((2, 3)))


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3), nn.Conv2d(10, 8, 3), nn.Conv2d(6, 8, 3)
        self.d = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.d((self.b(x[:, :10]) + self.c(x[:, 10:])).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "shape", "names", "alone"),
    [
        (Recurrent, (2, 6, 5), ["a", "lstm", "b"], {"c": "output"}),
        (Upscaler, (1, 3, 8, 8), ["a", "b"], {"c": "constant of fixed size"}),
        (SpatialGate, (1, 3, 8, 8), ["a", "b"], {"gate": "single channel", "c": "output"}),
        (Cut, (1, 3, 8, 8), ["b"], {"a": "cut at a fixed place", "d": "output"}),
    ],
)
def test_odd_networks_are_pruned_where_it_is_safe(model, shape, names, alone) -> None:
    torch.manual_seed(0)
    network, example = randomise(model()).eval(), torch.randn(shape)
    groups = find_groups(network, example)
    assert [group.name for group in groups] == names
    assert all(part in groups.left_alone[name] for name, part in alone.items()), groups.left_alone
    assert equivalence_error(network, example, groups, {group.name: half(group) for group in groups}) < 1e-9
