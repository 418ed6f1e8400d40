"""ONNX Runtime."""

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.measure import onnx
from autoprune.measure.runtimes import Pass


def make_pass(model: nn.Module, inputs: Any, threads: int) -> Pass:
    """Return the forward pass of the model's ONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        onnx.write(model, inputs, file)
        session = onnx.session(file, threads)
    feed = onnx.feed(session, inputs)
    return lambda: session.run(None, feed)
