"""Hugging Face's architectures: what of each can go, and that the smaller network ignores just that."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from language_models import CONFIGURATIONS, build, example, share
from torch import Tensor, nn

from autoprune.base.tree import call
from autoprune.errors import UserError
from autoprune.prune.blocks import find_blocks, remove_blocks
from autoprune.prune.criteria.activations import APOZ
from autoprune.prune.criteria.base import Context, Request
from autoprune.prune.find import find_groups
from autoprune.prune.graph.trace import tensors
from autoprune.prune.groups import Groups
from autoprune.prune.outputs import relative_difference
from autoprune.prune.proof import half
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels

transformers = pytest.importorskip("transformers")

SHARES = {
    "qwen3": 0.98,
    "phi3": 0.98,
    "gemma3": 0.97,
    "stablelm": 0.95,
    "falcon": 0.92,
    "falcon_grouped": 0.95,
    "gpt_bigcode": 0.85,
    "llama_one_key": 0.92,
    "codegen": 0.97,
    "mixtral": 0.98,
    "qwen2_moe": 0.97,
    "qwen3_moe": 0.97,
    "olmoe": 0.87,
    "gpt_oss": 0.97,
    "granite_moe": 0.98,
    "deepseek_v3": 0.7,
    "bloom": 0.97,
    "mpt": 0.97,
    "falcon_alibi": 0.97,
    "mamba": 0.97,
    "mamba_cached": 0.97,
    "falcon_mamba": 0.97,
    "t5": 0.94,
    "bart": 0.9,
    "xlnet": 0.4,
    "squeezebert": 0.1,
    "modernbert": 0.9,
    "gpt_neox": 0.95,
    "gemma2": 0.95,
    "starcoder2": 0.95,
    "opt": 0.95,
    "gptj": 0.95,
    "deberta": 0.97,
    "deberta_v2": 0.97,
}
"""By architecture: the least share in any group of the parameters that are neither embeddings nor the output layer."""
MAIN = ("qwen3", "phi3", "falcon", "mixtral", "deberta_v2", "mamba", "bloom")


def ignoring(model: nn.Module, groups: Groups, removed: dict[str, list[int]]) -> nn.Module:
    """Return a copy of ``model`` whose layers ignore these units: only the columns that read them are zero.

    It owes nothing to where units are made, normalised and rotated: that is for the smaller network to get right.
    """
    model = copy.deepcopy(model)
    state = dict(model.named_parameters())
    for group in groups:
        gone = torch.tensor(removed[group.name])
        readers = [part for part in group.slices if part.role == "in"]
        assert readers, group.name
        for part in readers:
            columns = torch.isin(part.unit, gone.to(part.unit.dtype)).nonzero().flatten()
            state[part.parameter].data.index_fill_(part.dim, columns, 0.0)
    return model


@torch.no_grad()
def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    return tensors(call(model, inputs))


def doubled(inputs: Any) -> Any:
    return inputs.double() if isinstance(inputs, Tensor) else inputs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in MAIN else pytest.mark.slow) for name in SHARES]
)
def test_the_smaller_network_is_the_dense_one_that_ignores_what_went(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = randomise(build(name)).eval(), example(name)
    groups = find_groups(model, inputs)
    assert share(model, groups) >= SHARES[name], groups.left_alone

    removed = {group.name: half(group) for group in groups}
    precise = copy.deepcopy(model).double()
    precise.config._experts_implementation = "eager"  # the kernel for mixtures of experts knows no double precision
    smaller, wanted = (
        outputs(network, doubled(inputs))
        for network in (remove_channels(precise, doubled(inputs), groups, removed), ignoring(precise, groups, removed))
    )
    assert relative_difference(smaller, wanted) < 1e-9
    assert relative_difference(smaller, outputs(precise, doubled(inputs))) > 1e-4, "nothing that matters went"

    small = remove_channels(model, inputs, groups, removed)
    again = rebuild(build(name), small.state_dict())
    assert relative_difference(outputs(again, inputs), outputs(small, inputs)) == 0
    _trains(again, inputs)


@pytest.mark.parametrize("name", ["bloom", pytest.param("mpt", marks=pytest.mark.slow)])
def test_heads_that_are_left_keep_their_slopes_however_often_others_go(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = randomise(build(name)).eval(), example(name)
    groups = find_groups(model, inputs)
    heads = next(group.name for group in groups if group.channels == 4)
    twice = model
    left = groups
    for gone in (1, 0):  # heads 1 and 0 of the dense layer
        twice, left = remove_channels(twice, inputs, left, {heads: [gone]}), left.after({heads: [gone]})
    once = remove_channels(model, inputs, groups, {heads: [0, 1]})
    assert relative_difference(outputs(twice, inputs), outputs(once, inputs)) == 0
    wanted = ignoring(model, groups, {group.name: [0, 1] if group.name == heads else [] for group in groups})
    assert relative_difference(outputs(once, inputs), outputs(wanted, inputs)) < 1e-5
    assert find_groups(once, inputs)[heads].channels == 2
    other = remove_channels(model, inputs, groups, {heads: [2, 3]}).state_dict()
    attention = heads.rpartition(".")[0]
    assert other[f"{attention}.heads_left"].tolist() == [0, 1]
    again = rebuild(build(name), once.state_dict())
    assert relative_difference(outputs(again, inputs), outputs(once, inputs)) == 0


def test_activations_inside_experts_are_not_mistaken_for_those_around_them() -> None:
    """Here experts are as wide as the model, so that the shapes would fit."""
    sizes = CONFIGURATIONS["mixtral"][1] | {"intermediate_size": 32}
    model = transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes)).eval()
    inputs = example("mixtral")
    groups = tuple(group for group in find_groups(model, inputs) if "experts" in group.name)
    task = SimpleNamespace(run=lambda network, _: call(network, inputs), recovery=SimpleNamespace(batch_size=2))
    ids = inputs["input_ids"]
    request = Request(model, groups, {}, Context(task, (ids, ids)), groups)
    with pytest.raises(UserError, match="experts cannot be seen"):
        APOZ.score(request)


LAYERS = {
    "gptj": "transformer.h",
    "bloom": "transformer.h",
    "falcon": "transformer.h",
    "gpt_neo": "transformer.h",
    "codegen": "transformer.h",
    "mpt": "transformer.blocks",
    "mpnet": "mpnet.encoder.layer",
    "modernbert": "model.layers",
    "deberta": "deberta.encoder.layer",
    "deberta_v2": "deberta.encoder.layer",
}
"""Where the layers are of architectures whose layers return tuples, or are asked something by the model around them."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("gptj", "mpnet") else pytest.mark.slow) for name in LAYERS]
)
def test_a_layer_that_returns_a_tuple_is_a_block(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = randomise(build(name)).eval(), example(name)
    blocks = find_blocks(model, inputs)
    assert [block.name for block in blocks] == [f"{LAYERS[name]}.0", f"{LAYERS[name]}.1"]

    shallower = remove_blocks(model, blocks[1:])
    found = outputs(shallower, inputs)
    hook = model.get_submodule(blocks[1].name).register_forward_hook(
        lambda _, given, out: (given[0], *out[1:]) if isinstance(out, tuple) else given[0]
    )
    wanted = outputs(model, inputs)
    hook.remove()
    assert relative_difference(found, wanted) == 0
    assert relative_difference(found, outputs(model, inputs)) > 1e-4
    assert relative_difference(outputs(rebuild(build(name), shallower.state_dict(), inputs), inputs), found) == 0
    _trains(shallower, inputs)


def test_a_layer_that_hands_others_its_position_bias_is_no_block() -> None:
    names = [block.name for block in find_blocks(build("t5"), example("t5"))]
    assert "encoder.block.1.layer.0" in names and "encoder.block.0.layer.1" in names
    assert not {"encoder.block.0.layer.0", "decoder.block.0.layer.0"} & set(names)


def _trains(model: nn.Module, inputs: Any) -> None:
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.train().parameters(), 0.1)
    sum(output.square().mean() for output in tensors(call(model, inputs)) if output.is_floating_point()).backward()
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
