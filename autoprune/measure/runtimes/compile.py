"""``torch.compile``."""

import torch
from torch import Tensor, nn

from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Tensor, threads: int) -> Pass:
    """Return the forward pass of the compiled model."""
    torch._dynamo.reset()  # else the compilations of earlier candidates count against this one's limit
    compiled = torch.compile(model, dynamic=False)
    with torch.no_grad():
        compiled(inputs)
    return lambda: compiled(inputs)
