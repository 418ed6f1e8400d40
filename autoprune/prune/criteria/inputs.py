"""What arrives at layers: moments of their inputs over a few batches, forward passes alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.prune.criteria.base import Request
from autoprune.prune.groups import Group, Slice


@dataclass
class Inputs:
    """Sums over all that arrived at a layer, for each of its input channels, shape ``(channels,)``, in doubles.

    Args:
        count: examples times positions (tokens, pixels).
        total: of the values.
        squares: of their squares.
        levels: over the examples, of the square of the mean absolute value over the positions.
    """

    count: int
    total: Tensor
    squares: Tensor
    levels: Tensor

    def __add__(self, other: Inputs) -> Inputs:
        """Return the sums over both."""
        both = zip(astuple(self), astuple(other), strict=True)
        return Inputs(*(mine + more for mine, more in both))

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self.total / self.count

    @property
    def variance(self) -> Tensor:
        """The variance."""
        return (self.squares / self.count - self.mean**2).clamp_min(0)


@torch.no_grad()
def inputs_of(request: Request, layers: Collection[str], batches: int | None = None) -> dict[str, Inputs]:
    """Return the moments of what arrives at layers, by name; nothing of layers that are not called.

    Args:
        batches: training batches to look at; if None as many as the context says.
    """
    found: dict[str, Inputs] = {}

    def look(name: str, layer: nn.Module, positional: tuple, named: dict[str, Any]) -> None:
        x = next((each for each in (*positional, *named.values()) if isinstance(each, Tensor)), None)
        if x is None or not x.is_floating_point() or x.ndim < 2:
            return
        x = x.movedim(1 if isinstance(layer, nn.modules.conv._ConvNd) else -1, -1).double()
        x = x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
        flat = x.flatten(0, 1)
        sums = flat.sum(0), flat.square().sum(0), x.abs().mean(1).square().sum(0)
        now = Inputs(len(flat), *(each.cpu() for each in sums))
        found[name] = found[name] + now if name in found else now

    modules = dict(request.model.named_modules())
    hooks = [
        modules[name].register_forward_pre_hook(
            lambda layer, positional, named, name=name: look(name, layer, positional, named), with_kwargs=True
        )
        for name in layers
        if name in modules
    ]
    try:
        request.model.eval()
        for batch in request.batches(batches):
            request.need().task.run(request.model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def readers(request: Request, batches: int | None = None) -> Iterator[tuple[Group, Slice, Inputs]]:
    """Yield each slice by which a layer reads a group's channels, with the moments of that layer's inputs.

    Raises:
        UserError: none of the layers that read a group is called.
    """
    parts = [(group, part) for group in request.groups for part in group.slices if part.role == "in"]
    found = inputs_of(request, {part.layer for _, part in parts}, batches)
    seen = {part.layer for _, part in parts if part.layer in found and len(found[part.layer].total) == len(part.unit)}
    for group in request.groups:
        if not any(part.layer in seen for _, part in parts if _ is group):
            raise UserError(
                f"what is read of {group.name} cannot be seen: no layer that reads it is called; use another criterion"
            )
    for group, part in parts:
        if part.layer in seen:
            yield group, part, found[part.layer]
