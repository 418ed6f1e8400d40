"""A model as an ONNX file, and a session of ONNX Runtime that runs it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoprune.base.quiet import quiet
from autoprune.train.modes import evaluating

if TYPE_CHECKING:
    import onnxruntime


def write(model: nn.Module | torch.export.ExportedProgram, inputs: Tensor, file: Path) -> None:
    """Write ``model`` with a dynamic batch dimension, its input named ``input`` and its output ``output``."""
    import onnx

    options = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if isinstance(model, nn.Module) else {}
    with quiet(), evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        program = torch.onnx.export(
            model,
            (inputs,),
            dynamo=True,
            input_names=["input"],
            output_names=["output"],
            verbose=False,
            **options,
        )
    proto = program.model_proto
    for node in proto.graph.node:  # the exporter's notes on Python source lines: a third of a small file, and private
        del node.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if not isinstance(model, nn.Module):
        del proto.graph.value_info[:]  # an exported program's batch dimension has another name there
    onnx.save(proto, file)


def session(file: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU, limited to this many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
