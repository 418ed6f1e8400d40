"""Which groups a removal fails for: those around the first layer at which the smaller network parts from the zeroed.

Trying the groups one by one costs runs of the network; where two runs part is seen in one. What is found here is a
suspicion, which the check of :mod:`autoprune.prune.proof` has to confirm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from autoprune.prune.groups import Group
from autoprune.prune.outputs import outputs

PARTED = {torch.float64: 1e-9}
"""The relative difference of a layer's outputs that is more than rounding; else 1e-4."""


@dataclass
class _Run:
    """What ran, in its order: names of layers with what each of their channels was on average.

    Args:
        inside: the modules that were running when the run failed, the outermost first.
    """

    layers: list[tuple[str, list[Tensor]]] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)


def suspects(
    smaller: nn.Module,
    reference: nn.Module | None,
    example_input: Any,
    groups: Sequence[Group],
    gone: Mapping[tuple[str, int], Tensor],
    training: bool = False,
) -> tuple[int, list[Group]]:
    """Return which of ``groups`` are most likely to blame, and how far the run came until they showed.

    Args:
        smaller: the network without them.
        reference: the network in which they are zero; None if ``smaller`` does not run.
        gone: the positions that went, by parameter and dimension.
    """
    found = _watch(smaller, example_input, training)
    if reference is None or found.inside:
        names = [name for name, _ in found.layers]
        where = found.inside[-1] if found.inside else ""
        last = names[-1:]
        choices = [_of(groups, [where], "in"), _of(groups, last, "out", "carry"), _of(groups, [where, *last])]
        return len(names), next((some for some in choices if some), [])
    wanted = _watch(reference, example_input, training)
    left, together = _left(groups, gone), 0
    for i, ((name, ours), (other, theirs)) in enumerate(zip(found.layers, wanted.layers, strict=False)):
        if name != other:
            break
        same = _same(ours, theirs, left.get(name))
        if same is False:
            between = [name for name, _ in found.layers[together:i]]
            choices = [_of(groups, [name], "in"), _of(groups, between, "in"), _of(groups, [*between, name])]
            return i, next((some for some in choices if some), [])
        if same:
            together = i + 1
    after = [name for name, _ in found.layers[together:]]
    return len(found.layers), _of(groups, after)


def _of(groups: Sequence[Group], layers: Sequence[str], *roles: str) -> list[Group]:
    """Return the groups that have a part, of these roles, in one of these layers."""
    wanted = set(layers)
    return [g for g in groups if any(p.layer in wanted and (not roles or p.role in roles) for p in g.slices)]


def _left(groups: Sequence[Group], gone: Mapping[tuple[str, int], Tensor]) -> dict[str, Tensor]:
    """Return which output channels are left, by layer."""
    return {
        part.layer: ~gone[part.parameter, part.dim]
        for group in groups
        for part in group.slices
        if part.role != "in" and part.parameter.endswith("weight") and (part.parameter, part.dim) in gone
    }


def _same(ours: list[Tensor], theirs: list[Tensor], left: Tensor | None) -> bool | None:
    """Whether the averages agree where channels are left; None if the two cannot be compared."""
    if len(ours) != len(theirs) or not ours:
        return None
    for a, b in zip(ours, theirs, strict=True):
        if left is not None and len(b) == len(left):
            b = b[left]
        if a.shape != b.shape:
            return None
        limit = PARTED.get(a.dtype, 1e-4) * max(float(b.abs().max()), 1e-30) if b.numel() else 0.0
        if not bool(((a - b).abs() <= limit).all()):
            return False
    return True


def _watch(network: nn.Module, example_input: Any, training: bool) -> _Run:
    """Run ``network`` and return what its layers computed, up to where it failed."""
    run, handles = _Run(), []

    def enter(name: str):
        return lambda module, inputs: run.inside.append(name)

    def leave(name: str, layer: bool):
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            run.inside.pop()
            if layer:
                run.layers.append((name, _averages(module, output)))

        return note

    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        layer = bool(module._parameters)
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name, layer))]
    try:
        outputs(network, example_input, training)
    except Exception:  # which is what is looked into
        pass
    finally:
        for handle in handles:
            handle.remove()
    return run


def _averages(module: nn.Module, output: Any) -> list[Tensor]:
    """Return the mean size of each channel of a layer's output."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.ndim < 2:
        return []
    by_second = isinstance(module, _ConvNd | _NormBase | nn.GroupNorm | nn.PReLU) or "2d" in type(module).__name__
    channels = first.transpose(1, -1) if by_second else first
    return [channels.abs().flatten(0, -2).mean(0)]
