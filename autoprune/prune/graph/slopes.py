"""Attention with linear biases (ALiBi, Press et al. 2022): each head has a slope of its own, which the model hands it.

A layer that lost heads must remember which are left. It keeps their numbers in a buffer, which lies in its state dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.prune.graph.heads import head_counts
from autoprune.prune.graph.propagation import LabelPropagator

BIASES = ("alibi", "position_bias", "attention_mask")
"""What transformers' layers (Bloom, MPT, Falcon) call the biases: they have a place for each head."""

OUTPUTS = ("dense", "out_proj")
"""What they call the projection that reads their heads."""

LEFT = "heads_left"
"""The buffer: the numbers of the heads that are left, in the dense layer."""


def biased(layer: nn.Module) -> str | None:
    """Return what ``layer`` calls the projection that reads its heads, if it may be handed biases for each head."""
    if not type(layer).__name__.startswith(("BloomAttention", "FalconAttention", "MptAttention")):
        return None
    return next((name for name in OUTPUTS if isinstance(getattr(layer, name, None), nn.Linear)), None)


def remember_heads(model: nn.Module, gone: Mapping[tuple[str, int], Tensor]) -> None:
    """Let the layers of ``model`` that lose heads remember which are left; their attributes are still the old ones."""
    for prefix, layer in list(model.named_modules()):
        name = biased(layer)
        mask = None if name is None else gone.get((f"{prefix}.{name}.weight", 1))
        if mask is None:
            continue
        heads = head_counts(layer)[0]
        left = (~mask.view(heads, -1).all(1)).nonzero().flatten().to(next(layer.parameters()).device)
        before = getattr(layer, LEFT, None)
        select_heads(layer, left if before is None else before[left])


def select_heads(layer: nn.Module, left: Tensor) -> None:
    """Let ``layer`` use the biases of these heads alone."""
    known = hasattr(layer, LEFT)
    layer.register_buffer(LEFT, left)
    if not known:
        layer.register_forward_pre_hook(_select, with_kwargs=True)


def _select(layer: nn.Module, args: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    left, chosen = getattr(layer, LEFT), dict(named)
    for name, bias, axis in _biases(args, named):
        if name == "alibi" and axis == 0:  # of all examples, one after the other
            chosen[name] = bias.unflatten(0, (len(args[0]), -1)).index_select(1, left).flatten(0, 1)
        else:
            chosen[name] = bias.index_select(axis, left)
    return args, chosen


def _biases(args: tuple, named: dict[str, Any]) -> Iterator[tuple[str, Tensor, int]]:
    """Yield what has a place for each head: its name, itself and the axis of heads."""
    for name in BIASES:
        bias = named.get(name)
        if isinstance(bias, Tensor) and bias.ndim == 4 and bias.size(1) > 1:
            yield name, bias, 1
        elif isinstance(bias, Tensor) and bias.ndim == 3 and name != "attention_mask":
            yield name, bias, 0


class Slopes(LabelPropagator):
    """Biases of attention with a slope for each head follow the heads."""

    @contextmanager
    def slopes_followed(self, model: nn.Module) -> Iterator[None]:
        """Take each head's biases as copies that go with it."""

        def note(layer: nn.Module, args: tuple, named: dict[str, Any]) -> None:
            for _, bias, axis in _biases(args, named):
                heads = torch.arange(head_counts(layer)[0]).repeat(bias.size(axis) // head_counts(layer)[0])
                self.copies.number(bias, heads.view([-1 if a == axis else 1 for a in range(bias.ndim)]))

        layers = [layer for layer in model.modules() if biased(layer)]
        hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
