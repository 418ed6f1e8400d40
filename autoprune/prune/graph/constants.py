"""Constants that are copied along an axis, such as a mask for each head: they shrink with what they are copied for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from autoprune.prune.graph.labels import compact, core, varying


class Copies:
    """Which copy each element of a constant is of, by tensor: what ``expand`` makes of an axis of size 1, numbered.

    Of a tensor that is made of one number, as a state of zeros, each element is a copy of its own.
    """

    def __init__(self) -> None:
        self._numbers: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._uniform: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def filled(self, tensor: Tensor) -> None:
        """Note that ``tensor`` was made of one number."""
        self._uniform[tensor] = True

    def is_filled(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` was made of one number, and is no part of another."""
        return tensor in self._uniform and tensor._base is None

    def number(self, tensor: Tensor, numbers: Tensor) -> None:
        """Say which copies the elements of ``tensor`` are, by numbers of a shape that broadcasts."""
        self._numbers[tensor] = compact(numbers.expand(tensor.shape))

    def expanded(self, tensor: Tensor, out: Tensor) -> None:
        """Note the copies in ``out``, which ``tensor`` was expanded to."""
        before = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
        made = [size if size != old else 1 for size, old in zip(out.shape, before, strict=True)]
        if any(size > 1 for size in made):
            self._numbers[out] = torch.arange(torch.Size(made).numel()).view(made).expand(out.shape)
        else:
            self.moved(tensor, out, lambda numbers: numbers.expand(out.shape))

    def moved(self, tensor: Any, out: Tensor, move: Callable[[Tensor], Tensor]) -> None:
        """Do to the copies in ``tensor`` what was done to it."""
        if isinstance(tensor, Tensor) and tensor in self._uniform:
            self._uniform[out] = True
        elif isinstance(tensor, Tensor) and tensor in self._numbers:
            self._numbers[out] = compact(move(self._numbers[tensor]))

    def combined(self, operands: Sequence[Tensor], out: Tensor) -> None:
        """Note the copies in a constant made of others, if no other than the one with copies changes along them."""
        self._uniform.pop(out, None)  # it may have been written over in place
        known = [tensor for tensor in operands if tensor in self._numbers]
        if len(known) != 1:
            return
        numbers = self._numbers[known[0]].expand(out.shape)
        for tensor in operands:
            shape = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
            if tensor is not known[0] and any(shape[axis] > 1 for axis in varying(numbers)):
                return
        self._numbers[out] = numbers

    def follow(self, tensor: Tensor, labels: Tensor, axis: int) -> bool:
        """Whether, along ``axis`` of ``labels``, only copies in ``tensor`` would go: each with the labels it is for."""
        if tensor in self._uniform:
            return True
        numbers = self._numbers.get(tensor)
        if numbers is None or labels.ndim < numbers.ndim:
            return False
        numbers = numbers[(None,) * (labels.ndim - numbers.ndim)]
        if axis not in varying(numbers):
            return False
        copied = varying(numbers)
        others = [other for other in varying(labels) if other not in copied]
        for other in range(labels.ndim):
            if other not in (*copied, *others):
                labels = labels.narrow(other, 0, 1)
        numbers = core(numbers).permute(*copied, *[a for a in range(numbers.ndim) if a not in copied]).reshape(-1, 1)
        labels = labels.permute(*copied, *[a for a in range(labels.ndim) if a not in copied]).reshape(len(numbers), -1)
        pairs = torch.cat([numbers, labels], 1)
        return len(pairs.unique(dim=0)) == len(numbers.unique())
