"""PyTorch as it is."""

from torch import Tensor, nn

from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Tensor, threads: int) -> Pass:
    """Return the plain forward pass."""
    return lambda: model(inputs)
