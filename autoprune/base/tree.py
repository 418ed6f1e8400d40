"""Trees of tensors, whatever holds them: batches, example inputs, outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


def call(model: Callable[..., Any], inputs: Any) -> Any:
    """Run ``model`` on a tensor, a tuple or list of positional arguments, or a mapping of named ones."""
    positional, named = as_arguments(inputs)
    return model(*positional, **named)


def as_arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the named arguments that inputs stand for, see :func:`call`."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def as_inputs(positional: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the inputs that arguments are: the inverse of :func:`as_arguments`."""
    if named:
        return dict(named)
    return positional[0] if len(positional) == 1 else positional


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Return a tree of the same form with ``function`` of each tensor; what holds none is there as it is.

    Mappings, lists, tuples (named ones too) and dataclasses are looked into.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        parts = {key: map_tensors(function, value) for key, value in tree.items()}
        return parts if type(tree) is dict else _like(tree, parts)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(function, part) for part in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(map_tensors(function, part) for part in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree) if field.init}
        return dataclasses.replace(tree, **{name: map_tensors(function, value) for name, value in fields.items()})
    return tree


def _like(tree: Any, parts: dict[Any, Any]) -> Any:
    """Return a mapping of the kind of ``tree``, such as a tokenizer's ``BatchEncoding``; a plain one if not."""
    try:
        return type(tree)(parts)
    except Exception:  # of a constructor that nobody knows
        return parts


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of a tree, in its order."""
    found: list[Tensor] = []
    map_tensors(found.append, tree)
    yield from found


def examples_in(batch: Any) -> int:
    """Return how many examples a batch holds: the length of its first list of tensors, or of its first tensor."""
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    if isinstance(parts, tuple | list):
        for part in parts:
            if isinstance(part, list) and part and all(isinstance(each, Tensor | Mapping) for each in part):
                return len(part)  # ragged: one tensor, or one mapping of them, for each example
            if (count := examples_in(part)) > 1:
                return count
    first = next(tensors_of(batch), None)
    return len(first) if first is not None and first.ndim else 1


def examples(batch: Any, start: int, stop: int | None = None) -> Any:
    """Return some of the examples of a batch whose tensors each have one row for an example."""
    return map_tensors(lambda tensor: tensor[start:stop] if tensor.ndim else tensor, batch)


def repeated(example: Any, times: int) -> Any:
    """Return an example input of one example as a batch of ``times`` such examples."""
    return map_tensors(lambda tensor: tensor.repeat_interleave(times, dim=0) if tensor.ndim else tensor, example)


def to_device(tree: Any, device: torch.device | str) -> Any:
    """Return a tree with its tensors on a device; those that are there already are not copied."""
    later = torch.device(device).type != "cpu"  # to the CPU, tensors could be read before they have arrived
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=later), tree)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def beside(model: nn.Module, tree: Any) -> Any:
    """Return a tree, such as an example input, with its tensors on the device of ``model``."""
    return to_device(tree, device_of(model))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's state dict with all tensors on the CPU, as files hold it."""
    state = model.state_dict()
    for name, tensor in state.items():
        state[name] = tensor.cpu()
    return state


def said(value: Any) -> str:
    """Return what ``value`` is, in a few words: shapes and types of tensors, keys, the kind of anything else."""
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return "a dictionary of " + ", ".join(map(str, list(value)[:6]))
    if isinstance(value, tuple | list):
        return f"{len(value)} parts ({', '.join(said(part) for part in value[:6])})"
    return f"a {type(value).__name__}"
