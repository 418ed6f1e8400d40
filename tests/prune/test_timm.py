"""Families of timm whose layers keep sizes of their own: equal to the dense network with masked activations."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch

from autoprune.prune.find import find_groups
from autoprune.prune.proof import half
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels

timm = pytest.importorskip("timm")
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def reference_error(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from reference import reference_error

    return reference_error


TINY = {"num_classes": 5}
CASES = {  # name, its options, side of the image, layers that start a group, with their units
    "convnextv2_atto": ({"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}, 32, {"stages.1.blocks.0.mlp.fc1": 48}),
    "beit_base_patch16_224": (
        {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4},
        32,
        {"blocks.0.attn.qkv": 4, "blocks.1.mlp.fc1": 128},
    ),
    "swinv2_tiny_window8_256": (
        {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 4)},
        32,
        {"layers.0.blocks.0.attn.cpb_mlp.2": 2, "layers.1.blocks.0.attn.cpb_mlp.2": 4},
    ),
    "res2net50_14w_8s": ({"layers": (1, 1, 1, 1)}, 32, {"layer1.0.conv1": 14, "layer2.0.conv1": 28}),
    "cs3darknet_focus_s": ({}, 32, {}),
    "mixnet_s": ({}, 32, {}),
    "twins_pcpvt_small": (
        {"img_size": 64, "embed_dims": (16, 24, 32, 32), "num_heads": (2, 2, 4, 4), "depths": (1, 1, 1, 1)},
        64,
        {"blocks.0.0.attn.q": 2, "blocks.3.0.attn.q": 4},
    ),
    "xcit_nano_12_p16_224": ({"depth": 2}, 64, {"blocks.0.attn.qkv": 4}),
    "maxvit_pico_rw_256": ({"img_size": 64}, 64, {}),
}


LARGE = ("mixnet_s", "cs3darknet_focus_s", "maxvit_pico_rw_256")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in CASES])
def test_sizes_that_layers_keep_for_themselves_follow(name: str, reference_error) -> None:
    options, side, units = CASES[name]
    torch.manual_seed(0)
    build = lambda: timm.create_model(name, **TINY, **options)  # noqa: E731
    model, example = randomise(build()).eval(), torch.randn(1, 3, side, side)
    groups = find_groups(model, example)
    failed = {layer: why for layer, why in groups.left_alone.items() if "fails" in why or "changes the f" in why[:40]}
    assert not failed
    found = {group.name: group.channels for group in groups}
    assert found.items() >= units.items(), found
    removed = {group.name: half(group) for group in groups}
    assert reference_error(model, example, groups, removed) < 1e-9

    smaller = remove_channels(model, example, groups, removed)
    with torch.no_grad():
        wanted = smaller(example)
        assert torch.equal(rebuild(build(), smaller.state_dict())(example), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(copy.deepcopy(smaller)))(example), wanted)
    left = groups.after(removed)
    again = {group.name: half(group) for group in left}
    assert reference_error(smaller, example, left, again) < 1e-9
