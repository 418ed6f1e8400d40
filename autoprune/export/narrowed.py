"""The configuration of a pruned model of transformers: the sizes in which its layers are alike, written down."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from autoprune.errors import UserError
from autoprune.prune.blocks import Skip
from autoprune.prune.find import find_groups
from autoprune.prune.groups import Group, Groups

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

SIZES = {
    "mlp": ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim"),
    "heads": (
        *("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "num_heads"),
        *("encoder_attention_heads", "decoder_attention_heads"),
    ),
    "width": ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim", "embedding_size"),
}
"""What configurations call the sizes of each kind of groups."""

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
"""What configurations call the number of layers."""


def narrowed(model: PreTrainedModel, example_input: Any) -> PreTrainedModel:
    """Return the same network as its class makes it from a configuration with the new sizes, with its weights.

    Args:
        model: pruned; its configuration is still the dense one's.
        example_input: inputs of one example.

    Raises:
        UserError: its layers differ in a size that the configuration has once, or has no name for.
    """
    dense = type(model)(copy.deepcopy(model.config)).eval()
    config, state = shallower(model)
    for kind, (before, after) in _sizes(find_groups(dense, example_input, (), True, verify=False), dense, model):
        _set_sizes(config, kind, before, after)
    smaller = type(model)(config).eval()
    shapes = {name: tensor.shape for name, tensor in smaller.state_dict().items()}
    wrong = [name for name, tensor in state.items() if shapes.get(name) != tensor.shape]
    if wrong or shapes.keys() != state.keys():
        name = min(wrong or shapes.keys() ^ state.keys())
        raise UserError(
            f"{type(config).__name__} cannot express its sizes ({name} is {_shape(state.get(name))}, from the new "
            f"configuration {_shape(shapes.get(name))})"
        )
    smaller.load_state_dict(state)
    return smaller


def shallower(model: PreTrainedModel) -> tuple[PretrainedConfig, dict[str, Any]]:
    """Return the configuration with the number of layers that are left, and the weights by the names they have then."""
    config, state = copy.deepcopy(model.config), dict(model.state_dict())
    for left, stack in stacks(model):
        state = renumbered(state, left, stack)
        _set_layers(config, left)
    return config, state


def _shape(tensor: Any) -> str:
    return "missing" if tensor is None else "x".join(map(str, getattr(tensor, "shape", tensor)))


def stacks(model: nn.Module) -> Iterator[tuple[list[bool], str]]:
    """Yield which layers of each stack are left, and the stack's name, where some were dropped."""
    for name, module in model.named_modules():
        left = [not isinstance(layer, Skip) for layer in module] if isinstance(module, nn.ModuleList) else []
        if not all(left):
            yield left, name


def renumbered(state: Mapping[str, Any], left: list[bool], stack: str) -> dict[str, Any]:
    """Return what goes by names of parameters or modules with the layers of a stack counted anew."""
    number = re.compile(re.escape(stack) + r"\.(\d+)(?=\.|$)")
    return {
        number.sub(lambda found: f"{stack}.{sum(left[: int(found[1])])}", name, count=1): tensor
        for name, tensor in state.items()
    }


def _set_layers(config: PretrainedConfig, left: list[bool]) -> None:
    """Write the number of layers of a stack, and what the configuration says of each of them."""
    for name in LAYERS:
        if getattr(config, name, None) == len(left):
            setattr(config, name, sum(left))
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == len(left):
            setattr(config, name, [each for each, stays in zip(value, left, strict=True) if stays])


def _sizes(groups: Groups, dense: nn.Module, model: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each kind of groups, and how many channels they had and have.

    Raises:
        UserError: groups of a kind have lost different shares.
    """
    by_kind: dict[str, dict[str, tuple[int, int]]] = {}
    for group in groups:
        left = _left(group, dense, model)
        if left is not None:
            by_kind.setdefault(group.kind, {})[group.name] = group.channels, left
    for kind, sizes in by_kind.items():
        found = dict.fromkeys(sizes.values())
        if len(found) > 1:
            two = {next(name for name, size in sizes.items() if size == each): each[1] for each in list(found)[:2]}
            kept = " where ".join(f"{name} keeps {left}" for name, left in two.items())
            raise UserError(f"its configuration has one size for all {kind}, and {kept}: tie them, --tie {kind}")
        yield kind, next(iter(found))


def _left(group: Group, dense: nn.Module, model: nn.Module) -> int | None:
    """Return how many channels of a group are left; None where its layers have gone."""
    for part in group.slices:
        positions, whole = int((part.unit >= 0).sum()), len(part.unit)
        try:
            now = model.get_parameter(part.parameter).shape[part.dim]
        except AttributeError:  # it went with its block, or is a buffer
            continue
        if positions == whole:  # no other group's channels lie there
            return now * group.channels // whole
    return None


def _set_sizes(config: PretrainedConfig, kind: str, before: int, after: int) -> None:
    """Write a size under each of the names that the configuration has for it."""
    if before == after:
        return
    heads = next((value for name in SIZES["heads"] if (value := getattr(config, name, None))), None)
    width = next((value for name in SIZES["width"] if (value := getattr(config, name, None))), None)
    if kind in ("heads", "width") and heads and width and getattr(config, "head_dim", None) is None:
        config.head_dim = width // heads
    for name in SIZES.get(kind, ()):
        value = getattr(config, name, None)
        if kind == "heads" and isinstance(value, int):
            setattr(config, name, value * after // before)
        elif value == before or (name == "n_inner" and value is None and hasattr(config, name)):
            setattr(config, name, after)
