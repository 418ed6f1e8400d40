"""``torch.compile``."""

from typing import Any

import torch
from torch import nn

from autoprune.base.tree import call
from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Any, threads: int) -> Pass:
    """Return the forward pass of the compiled model."""
    torch._dynamo.reset()  # else the compilations of earlier candidates count against this one's limit
    compiled = torch.compile(model, dynamic=False)
    with torch.no_grad():
        call(compiled, inputs)
    return lambda: call(compiled, inputs)
