"""The residual stream under norms: asked for, proved by norms over the rest, and inexact by name."""

from __future__ import annotations

import copy

import pytest
import torch
from models import CASES
from tiny_llama import build, make_task
from torch import Tensor, nn

from autoprune.prune.find import find_groups
from autoprune.prune.outputs import outputs, relative_difference
from autoprune.prune.proof import equivalence_error, half, zeroed
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import Candidate
from autoprune.trial.run import run_trial

NETWORKS = ["vit", "bert", "gpt2", "llama", "convnext", "transformer"]
NETWORKS += [pytest.param(name, marks=pytest.mark.slow) for name in ("swin", "swin_v2", "maxvit")]


def wide(groups):
    return [group for group in groups if group.kind == "width"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_width_goes_alone_and_with_all_else_and_is_that_of_norms_over_the_rest(name):
    model, example = randomise(CASES[name].build()), CASES[name].example()
    groups = find_groups(model, example, allow_inexact=True)
    assert wide(groups) and all(group.name.startswith("width:") and not group.exact for group in wide(groups))
    for some in (wide(groups), groups):
        gone = {group.name: half(group) for group in some}
        assert equivalence_error(model, example, groups, gone) < 1e-9
        smaller = remove_channels(model, example, groups, gone)
        again = rebuild(copy.deepcopy(model), smaller.state_dict())
        assert relative_difference(outputs(again, example), outputs(smaller, example)) == 0


def test_without_being_asked_for_no_width_goes():
    groups = find_groups(build(), make_task().example)
    assert not wide(groups)
    assert groups.left_alone["model.embed_tokens"] == "a mean over its channels"


class NormOverTheRest(nn.Module):
    """Llama's norm, written anew: over some places of the last axis."""

    def __init__(self, norm: nn.Module, gone: list[int]) -> None:
        super().__init__()
        self.norm, self.left = norm, [place for place in range(len(norm.weight)) if place not in gone]

    def forward(self, x: Tensor) -> Tensor:
        size = sum(x[..., place] ** 2 for place in self.left) / len(self.left)
        return x / (size + self.norm.variance_epsilon).sqrt().unsqueeze(-1) * self.norm.weight


def test_a_narrower_llama_is_the_dense_one_with_zeros_and_norms_that_leave_them_out():
    model, example = randomise(build()).double(), make_task().example
    groups = find_groups(model, example, allow_inexact=True)
    (width,) = wide(groups)
    gone = {width.name: half(width)}
    smaller = remove_channels(model, example, groups, gone)
    assert smaller.model.embed_tokens.weight.shape == (16, 16) and smaller.lm_head.weight.shape == (16, 16)
    reference = zeroed(model, groups, gone)
    for name, module in list(reference.named_modules()):
        if name.endswith("norm"):
            reference.set_submodule(name, NormOverTheRest(module, gone[width.name]))
    assert (
        relative_difference(outputs(smaller, example), outputs(reference, example)) < 1e-6
    )  # its norms compute in float32
    plain = outputs(zeroed(model, groups, gone), example)
    assert relative_difference(outputs(smaller, example), plain) > 1e-3  # it is another function


class Odd(nn.Module):
    """A stream whose norm divides by its dense number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.scale, self.read = nn.Linear(6, 16), nn.Parameter(torch.ones(16)), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.make(x)
        return self.read(x * (x.pow(2).mean(-1, keepdim=True) * (x.shape[-1] / 16)).rsqrt() * self.scale)


def test_a_norm_that_knows_the_dense_width_is_found_by_the_proof():
    groups = find_groups(Odd(), torch.randn(2, 6), allow_inexact=True)
    assert not len(groups) and "changes the function" in groups.left_alone["width:make"]


def test_a_trial_narrows_the_stream_where_it_is_named_and_only_there(tmp_path, monkeypatch):
    from autoprune.prune import dense

    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    task = make_task()
    data = task.splits()
    loaded = dense.load_or_train(task, data, width=True)
    whole = run_trial(task, Candidate(uniform=0.5), data, loaded)
    assert whole.kept["width:model.embed_tokens"] == 32 and whole.kept["model.layers.0.mlp.gate_proj"] == 24
    tied = Candidate({"all:width": 0.5, "all:mlp": 0.25}, schedule="supernet", budget=0.0)
    narrow = run_trial(task, tied, data, loaded)
    assert narrow.kept["width:model.embed_tokens"] == 16 and narrow.kept["model.layers.1.mlp.gate_proj"] == 32
    assert narrow.model.lm_head.weight.shape == (16, 16)
    assert narrow.measures["params"] < whole.measures["params"]
