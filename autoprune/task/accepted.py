"""What can be pruned at all: a module whose parameters have values that can be cut."""

from __future__ import annotations

import copy
from itertools import chain

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune

from autoprune.errors import UserError


def accepted(model: nn.Module) -> nn.Module:
    """Return ``model``; if layers are masked by ``torch.nn.utils.prune``, a copy in which the masks are permanent.

    Raises:
        UserError: an exported program, parameters without values or without a shape, or no module at all.
    """
    kind = type(model)
    if any(base.__module__.startswith("torch.export") for base in kind.__mro__):
        raise UserError(
            "a program of torch.export has fixed shapes and cannot be pruned: prune the model before torch.export"
        )
    if not isinstance(model, nn.Module):
        raise UserError(f"the model is a {kind.__name__}: give a torch.nn.Module")
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(tensor):
            raise UserError(f"{name} has no shape yet: run the model once on an example before it is pruned")
        if tensor.is_meta:
            raise UserError(
                f"{name} is on the meta device and has no values: call model.to_empty(device='cpu') and load weights"
            )
    return _without_masks(model) if any(_masks(module) for module in model.modules()) else model


def _masks(module: nn.Module) -> list[str]:
    """Return the names of the parameters that ``torch.nn.utils.prune`` masks."""
    hooks = module._forward_pre_hooks.values()
    return [hook._tensor_name for hook in hooks if isinstance(hook, prune.BasePruningMethod)]


def _without_masks(model: nn.Module) -> nn.Module:
    # a masked weight that was computed with gradients cannot be copied, and is computed again anyway
    memo = {
        id(value): value.detach()
        for module in model.modules()
        for name in _masks(module)
        if isinstance(value := getattr(module, name), Tensor)
    }
    model = copy.deepcopy(model, memo)
    for module in model.modules():
        for name in _masks(module):
            prune.remove(module, name)
    return model
