"""A model as an ONNX file, and a session of ONNX Runtime that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoprune.base.device import CPU, on_cpu
from autoprune.base.modes import evaluating
from autoprune.base.quiet import quiet
from autoprune.base.tree import as_arguments, map_tensors, tensors_of, to_device

if TYPE_CHECKING:
    import onnxruntime


def write(model: nn.Module | torch.export.ExportedProgram, inputs: Any, file: Path) -> None:
    """Write ``model`` with a dynamic batch dimension, from the CPU.

    Its input is named ``input``, or as a mapping of inputs names them, its output ``output``.
    """
    import onnx

    inputs = to_device(inputs, CPU)
    model = on_cpu(model) if isinstance(model, nn.Module) else model
    positional, named = as_arguments(inputs)
    options = {"dynamic_shapes": batch_shapes(inputs)} if isinstance(model, nn.Module) else {}
    names = list(named) or [f"input_{i}" if len(positional) > 1 else "input" for i in range(len(positional))]
    with quiet(), _ready(model) if isinstance(model, nn.Module) else nullcontext():
        program = torch.onnx.export(
            model,
            positional,
            kwargs=named or None,
            dynamo=True,
            input_names=names,
            output_names=["output"],
            verbose=False,
            **options,
        )
    proto = program.model_proto
    for node in proto.graph.node:  # the exporter's notes on Python source lines: a third of a small file, and private
        del node.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if not isinstance(model, nn.Module):
        del proto.graph.value_info[:]  # an exported program's batch dimension has another name there
    onnx.save(proto, file)


@contextmanager
def _ready(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a while, without what it returns as None: PyTorch 2.8 cannot write that."""
    with evaluating(model), model.register_forward_hook(_without_none):
        yield


def _without_none(model: nn.Module, inputs: Any, outputs: Any) -> Any:
    if type(outputs) not in (tuple, list):
        return outputs
    return type(outputs)(part for part in outputs if part is not None)


def batch_shapes(inputs: Any) -> Any:
    """Return the dynamic shapes of inputs for ``torch.export``: the first dimension of each tensor is the batch."""
    batch = torch.export.Dim("batch")
    positional, named = as_arguments(inputs)
    return map_tensors(lambda tensor: {0: batch} if tensor.ndim else None, named or positional)


def feed(session: onnxruntime.InferenceSession, inputs: Any) -> dict[str, Any]:
    """Return inputs as a session takes them: arrays by name, in the order in which it has its inputs."""
    return {
        each.name: value.cpu().numpy() for each, value in zip(session.get_inputs(), tensors_of(inputs), strict=True)
    }


def session(file: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU, limited to this many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
