"""Norms over the channels that are left: what a smaller network is compared with where channels under a norm went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from autoprune.prune.groups import Groups


@contextmanager
def norms_over_the_rest(groups: Groups, gone: Mapping[tuple[str, int], Tensor]) -> Iterator[None]:
    """Let norms pass over channels that are zero, while a network runs in which these are set to zero.

    A LayerNorm or an RMSNorm of a network of zeros spans them too, where that of the smaller network has fewer. Which
    tensors are meant is told by the tensors alone, whatever was found out about the network: those whose last axis is
    exactly zero at the places that went. A norm is one operation, or the mean over the last axis that is one of its
    steps. Nothing happens where all groups that lose anything are exact.

    Args:
        gone: a mask over the positions that went, by parameter name and dimension.
    """
    masks = [
        gone[part.parameter, part.dim]
        for group in groups
        if not group.exact
        for part in group.slices
        if (part.parameter, part.dim) in gone
    ]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fused and not masks)  # its norms are inside one operation
    try:
        with _NormsOverRest({(len(mask), tuple(mask.nonzero().flatten().tolist())) for mask in masks}):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _NormsOverRest(TorchDispatchMode):
    """Takes norms over what is not zero.

    Args:
        zeros: how long an axis is, and where it is zero.
    """

    def __init__(self, zeros: set[tuple[int, tuple[int, ...]]]) -> None:
        super().__init__()
        self._zeros = zeros

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run one operation."""
        name, kwargs = func._schema.name, kwargs or {}
        if name == "aten::native_layer_norm" and len(args[1]) == 1:
            x, _, weight, bias, eps = args
            if (rest := self._rest(x)) is not None:
                own = [None if part is None else part[rest] for part in (weight, bias)]
                out, *statistics = func(x[..., rest].contiguous(), [len(rest)], *own, eps)
                return x.new_zeros(x.shape).index_copy(-1, rest, out), *statistics
        elif name == "aten::mean" and len(args) > 1 and args[1] in ([-1], [args[0].ndim - 1]):
            x, *others = args
            if (rest := self._rest(x)) is not None:
                return func(x[..., rest], *others, **kwargs)
        return func(*args, **kwargs)

    def _rest(self, x: Tensor) -> Tensor | None:
        """Return the places of the last axis that are left, if the others are zero everywhere."""
        for size, places in self._zeros:
            if x.ndim and x.shape[-1] == size and not x[..., list(places)].any():
                left = torch.ones(size, dtype=torch.bool, device=x.device)
                left[list(places)] = False
                return left.nonzero().flatten()
        return None
