"""Recurrent layers: their hidden units, which all layers and directions of one module lose together.

``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` know one hidden size for all their layers and directions. The state from which
they begin, zeros of that size, ties unit ``i`` of each: what is multiplied with it, step after step, is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from autoprune.base.modes import recurrence_unfused


@contextmanager
def watched(model: nn.Module, running: Callable[[int], None]) -> Iterator[None]:
    """Call ``running(1)`` whenever a recurrent layer begins to run and ``running(-1)`` when it has."""
    handles = []
    for layer in model.modules():
        if isinstance(layer, nn.RNNBase):
            handles.append(layer.register_forward_pre_hook(lambda *_: running(1)))
            handles.append(layer.register_forward_hook(lambda *_: running(-1)))
    try:
        with recurrence_unfused(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def fit_recurrent(layer: Any) -> None:
    """Set the sizes of a recurrent layer to what its parameters say."""
    layer.input_size = layer.weight_ih_l0.shape[1]
    if layer.proj_size:
        layer.proj_size, layer.hidden_size = layer.weight_hr_l0.shape
    else:
        layer.hidden_size = layer.weight_hh_l0.shape[1]
    layer._flat_weights = [getattr(layer, name, None) for name in layer._flat_weights_names]
