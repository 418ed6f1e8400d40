"""ONNX Runtime: on the device where it has a provider for it, otherwise on the CPU."""

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.base.tree import device_of
from autoprune.measure import onnx
from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Any, threads: int) -> Pass:
    """Return the forward pass of the model's ONNX file."""
    device = device_of(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        onnx.write(model, inputs, file)
        session = onnx.session(file, threads, device)
    return onnx.one_pass(session, inputs, device)
