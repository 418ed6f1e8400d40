"""Every parameter that is in no group, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from autoprune.prune.graph import propagation

GOES_WITH = "it goes with "
"""How the reason begins for what is made by, or combined with, the channels of another layer that is left alone."""


def unlabelled(model: nn.Module) -> dict[str, str]:
    """Return why a run gave a parameter no labels, by name, if it gave it none."""
    compiled = [name for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    return {name: _why_unlabelled(name, tensor, compiled) for name, tensor in model.named_parameters()}


def _why_unlabelled(name: str, tensor: Tensor, compiled: Iterable[str]) -> str:
    if any(not prefix or name.startswith(f"{prefix}.") for prefix in compiled):
        return "it is compiled by torch.jit: its shapes are fixed"
    if not tensor.is_floating_point():
        return "its numbers are not real ones"
    if tensor.numel() > propagation.LIMIT:
        return f"following it would need more than {propagation.LIMIT * 4 // 10**6} MB"
    return "the run did not use it"


def packed(model: nn.Module) -> dict[str, str]:
    """Return the reason for quantised layers, whose weights are no parameters any more, by name."""
    return {
        name: "its weights are quantised and packed"
        for name, module in model.named_modules()
        if hasattr(module, "_packed_params") and callable(getattr(module, "weight", None))
    }


def complete(
    model: nn.Module, reasons: Mapping[str, str], inside: Iterable[str], left_alone: Mapping[str, str]
) -> dict[str, str]:
    """Return ``left_alone`` with every parameter that is neither inside a group nor in it by its layer's name.

    A layer of which nothing is in a group is told by its name if its parameters share the reason.

    Args:
        reasons: why a parameter stays, by name.
        inside: the parameters that lie in groups.
        left_alone: reasons by the name of a layer or of a parameter.
    """
    found, inside = dict(left_alone), set(inside)
    layers: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    for layer, names in layers.items():
        missing = [name for name in names if name not in inside and name not in found]
        if layer in found or not missing:
            continue
        if layer and missing == names and len({reasons[name] for name in names}) == 1:
            found[layer] = reasons[names[0]]
        else:
            found |= {name: reasons[name] for name in missing}
    return found
