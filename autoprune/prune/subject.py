"""What removal is proved on: copies of a network with weights and an input at which a mistake would be seen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autoprune.prune.outputs import outputs, size_of
from autoprune.prune.random_values import random_input, randomise


class Subject:
    """What removal is proved on: copies of a network, with random weights where it bears them, and an input.

    Args:
        weights: of the copies: random, or the network's own.
        double: in double precision.
    """

    def __init__(self, model: nn.Module, example_input: Any, weights: Callable[[nn.Module], nn.Module], double: bool):
        self._model, self._example_input, self._weights, self._double = model, example_input, weights, double
        self.example_input = tree_map(_double, example_input) if double else example_input
        self._spare: nn.Module | None = self.copy()
        self.dense = outputs(self._spare, self.example_input)

    def copy(self) -> nn.Module:
        """Return another copy."""
        if spare := self.__dict__.pop("_spare", None):
            return spare
        model = self._weights(copy.deepcopy(self._model))
        return model.double() if self._double else model

    @cached_property
    def precise(self) -> Subject | None:
        """The same in double precision; None where an operator knows no other precision than the model's."""
        try:
            return Subject(self._model, self._example_input, self._weights, True)
        except Exception:
            return None


def random_subject(model: nn.Module, example_input: Any) -> Subject:
    """Return one with random weights and input; if it gives no sound output, with the model's or the example."""
    if isinstance(example_input, Mapping):  # such as a tokenizer's, which PyTorch does not know
        example_input = dict(example_input)
    drawn = random_input(model, example_input)
    for weights in (randomise, same):
        for chosen in (drawn, example_input):
            try:
                subject = Subject(model, chosen, weights, False)
            except Exception:  # such as a table of indices among the parameters
                continue
            if _sound(subject.dense):
                return subject
    return Subject(model, example_input, same, False)


def same(model: nn.Module) -> nn.Module:
    """Return a model with its own weights: the model."""
    return model


def _sound(found: Sequence[Tensor]) -> bool:
    """Whether outputs are mostly finite, never NaN, and not all zero."""
    floats = [tensor for tensor in found if tensor.is_floating_point()]
    if any(tensor.isnan().any() or tensor.isfinite().float().mean() < 0.5 for tensor in floats):
        return False
    return not floats or any(size_of(tensor) for tensor in floats)


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
