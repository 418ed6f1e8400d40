"""A model as OpenVINO's files, and OpenVINO's own runtime that runs them.

They are made from the model's ONNX file by OpenVINO's reader of ONNX. ``openvino.convert_model`` would trace the model
with what PyTorch is about to remove, and report its use to Intel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from torch import nn

from autoprune.base.tree import tensors_of
from autoprune.measure import onnx

if TYPE_CHECKING:
    import openvino

PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""As the model computes; on some processors OpenVINO takes bfloat16 where nothing is said."""


def write(model: nn.Module, inputs: Any, file: Path) -> None:
    """Write ``model`` to ``file``, NAME.xml, and its weights beside it, NAME.bin; names and batch size as in ONNX."""
    import openvino

    with TemporaryDirectory() as folder:
        plain = Path(folder, "model.onnx")
        onnx.write(model, inputs, plain)
        openvino.save_model(openvino.Core().read_model(plain), file, compress_to_fp16=False)


def compiled(file: Path, threads: int = 1) -> openvino.CompiledModel:
    """Return a file's network, compiled for the CPU and limited to this many threads."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **PRECISION}
    return openvino.Core().compile_model(file, "CPU", options)


def one_pass(network: openvino.CompiledModel, feed: dict[str, Any]) -> Callable[[], Any]:
    """Return a forward pass over arrays by name, whose outputs stay in the runtime's memory."""
    request = network.create_infer_request()
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def feed(network: openvino.CompiledModel, inputs: Any) -> dict[str, Any]:
    """Return inputs as a network takes them: arrays by name, in the order in which it has its inputs."""
    return {each.any_name: value.cpu().numpy() for each, value in zip(network.inputs, tensors_of(inputs), strict=True)}
