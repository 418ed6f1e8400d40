"""Physical removal of channels, and rebuilding a pruned network from its state dict."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base.tree import beside, call
from autoprune.errors import TrialFailure
from autoprune.prune.graph.slopes import remember_heads
from autoprune.prune.graph.trace import tensors
from autoprune.prune.groups import Groups, removed_positions
from autoprune.prune.resize import fit_attributes
from autoprune.task.accepted import accepted


def remove_channels(
    model: nn.Module, example_input: Any, groups: Groups, remove: Mapping[str, Collection[int]]
) -> nn.Module:
    """Return a copy of ``model`` without the given channels, really smaller, in evaluation mode.

    Args:
        groups: the groups of ``model``.
        remove: the units to remove (see :class:`~autoprune.prune.groups.Group`), by group name.

    Raises:
        TrialFailure: a group or a layer would be left without any channel, or the smaller network does not run.
    """
    for group in groups:
        asked = set(remove.get(group.name, ()))
        if len(asked) >= group.channels:
            raise TrialFailure(f"group {group.name} would lose all of its {group.channels} channels")
        if asked and not 0 <= min(asked) <= max(asked) < group.channels:
            raise TrialFailure(f"group {group.name} has no unit {max(asked)}: it has {group.channels}")
    smaller = cut(model, removed_positions(groups, remove))
    try:
        with torch.no_grad():
            shapes = [output.shape[1:] for output in tensors(call(smaller, beside(smaller, example_input)))]
    except Exception as error:
        raise TrialFailure(f"the pruned network does not run: {error}") from error
    if shapes != [shape[1:] for shape in groups.outputs]:
        raise TrialFailure("the pruned network's output has another shape than the dense one's")
    return smaller


def cut(model: nn.Module, gone: Mapping[tuple[str, int], Tensor]) -> nn.Module:
    """Return a copy of ``model`` without the masked positions of its parameters and buffers, in evaluation mode.

    Args:
        gone: a mask over the positions that go, by parameter name and dimension.

    Raises:
        TrialFailure: a parameter would be left empty.
    """
    model, memo = accepted(model), {}
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in {name for name, _ in gone}:
        old = state[name]
        new = old.detach()
        for dim in range(old.ndim):
            if (name, dim) in gone:
                left = (~gone[name, dim]).nonzero().flatten()
                if not len(left):
                    raise TrialFailure(f"{name} would be left empty")
                new = new.index_select(dim, left.to(old.device))
        # deepcopy takes the cut tensor where it meets the old one, so that the full one is never copied
        memo[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    smaller = copy.deepcopy(model, memo).eval()
    remember_heads(smaller, gone)
    fit_attributes(smaller)
    return smaller
