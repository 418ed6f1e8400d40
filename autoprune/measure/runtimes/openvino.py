"""OpenVINO, on the CPU."""

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.base.packages import require
from autoprune.measure import openvino
from autoprune.measure.runtimes import Pass

require("openvino", "openvino", "the runtime openvino")


def make_pass(model: nn.Module, inputs: Any, threads: int) -> Pass:
    """Return the forward pass of the model's OpenVINO files."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.xml")
        openvino.write(model, inputs, file)
        network = openvino.compiled(file, threads)
    return openvino.one_pass(network, openvino.feed(network, inputs))
