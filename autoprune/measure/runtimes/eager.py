"""PyTorch as it is."""

from typing import Any

from torch import nn

from autoprune.base.tree import call
from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Any, threads: int) -> Pass:
    """Return the plain forward pass."""
    return lambda: call(model, inputs)
