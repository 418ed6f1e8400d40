"""A network's training mode, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put ``model`` into evaluation mode for a while; afterwards each of its layers is in the mode it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        yield model.eval()
    finally:
        for layer, mode in modes:
            layer.training = mode
