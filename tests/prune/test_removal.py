"""Removal, proved: the smaller network equals the dense one whose channels are set to zero, for every family."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models import CASES
from torch import nn

from autoprune.errors import TrialFailure
from autoprune.measure.measure import parameters
from autoprune.prune.find import find_groups
from autoprune.prune.graph.trace import call, tensors
from autoprune.prune.groups import Group, Groups
from autoprune.prune.outputs import relative_difference
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import channels_kept


def prepared(name: str) -> tuple[nn.Module, Any, Groups]:
    if name in ("bert", "gpt2", "llama"):
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, example = randomise(CASES[name].build()).eval(), CASES[name].example()
    return model, example, find_groups(model, example)


def rounded(group: Group) -> list[int]:
    return half(group)[: group.channels - channels_kept(group.channels, 0.5)]


@pytest.mark.parametrize("name", CASES)
def test_half_of_every_group_goes_and_the_function_stays(name: str) -> None:
    model, example, groups = prepared(name)
    assert len(groups) >= CASES[name].groups, groups.left_alone
    before = copy.deepcopy(model.state_dict())
    removed = {group.name: half(group) for group in groups}

    assert equivalence_error(model, example, groups, removed) < 1e-9
    assert equivalence_error(model, example, groups, {g.name: rounded(g) for g in groups}) < 1e-9

    smaller = remove_channels(model, example, groups, removed)
    with torch.no_grad():
        found, dense = tensors(call(smaller, example)), tensors(call(model, example))
    assert [t.shape for t in found] == [t.shape for t in dense]
    assert relative_difference(found, dense) > 1e-4, "the check would be vacuous: removing changed nothing"
    assert parameters(smaller) < 0.9 * parameters(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()), "the model was changed"

    again = rebuild(CASES[name].build(), smaller.state_dict())
    with torch.no_grad():
        assert relative_difference(tensors(call(again, example)), found) == 0
    _train_one_step(smaller, example)


def _train_one_step(model: nn.Module, example: Any) -> None:
    batch = example if isinstance(example, dict) else torch.cat([example, example + 0.1])
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    loss = sum(output.square().mean() for output in tensors(call(model, batch)))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.numel())


@pytest.mark.parametrize("name", ["lenet", "resnet20", "mobilenet_v2", "unet", "resnext", "shufflenet"])
def test_zeroing_only_where_channels_are_made_gives_the_same(name: str) -> None:
    """A check that owes nothing to what is known of the readers; all activations here map zero to zero."""
    model, example, groups = prepared(name)
    removed = {group.name: half(group) for group in groups}
    assert equivalence_error(model, example, groups, removed, roles=("out", "carry")) < 1e-9


@pytest.mark.parametrize("name", ["resnet20", "resnext", "vit", "unet_group_norm", "swin", "gated_mlp"])
def test_groups_of_the_smaller_network_without_tracing_it_again(name: str) -> None:
    model, example, groups = prepared(name)
    first = {group.name: half(group) for group in groups}
    smaller, left = remove_channels(model, example, groups, first), groups.after(first)
    if name != "resnext":  # traced anew, half as many conv-groups of the same width offer another choice: places
        traced = {g.name: g.channels for g in find_groups(smaller, example, verify=False)}
        assert traced == {g.name: g.channels for g in left if g.channels > 1}
    second = {group.name: half(group) for group in left}
    assert equivalence_error(smaller, example, left, second) < 1e-9
    twice = remove_channels(smaller, example, left, second)
    again = rebuild(CASES[name].build(), twice.state_dict())
    with torch.no_grad():
        assert relative_difference(tensors(call(again, example)), tensors(call(twice, example))) == 0


def test_a_group_is_never_emptied() -> None:
    model, example, groups = prepared("lenet")
    name = next(iter(groups)).name
    with pytest.raises(TrialFailure, match="would lose all"):
        remove_channels(model, example, groups, {name: range(groups[name].channels)})
    with pytest.raises(TrialFailure, match="has no unit"):
        remove_channels(model, example, groups, {name: [groups[name].channels]})
