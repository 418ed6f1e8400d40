"""A model as an ONNX file, and a session of ONNX Runtime that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoprune.base.device import CPU, on_cpu
from autoprune.base.modes import evaluating
from autoprune.base.quiet import quiet
from autoprune.base.tree import as_arguments, map_tensors, tensors_of, to_device
from autoprune.errors import UserError

if TYPE_CHECKING:
    import onnxruntime

CPU_PROVIDER = "CPUExecutionProvider"
PROVIDERS = {"cuda": "CUDAExecutionProvider"}
"""Kind of device -> ONNX Runtime's provider for it, where it is installed (``onnxruntime-gpu``)."""


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
    if type(outputs) is dict:
        return {name: part for name, part in outputs.items() if part is not None}
    if type(outputs) in (tuple, list):
        return type(outputs)(part for part in outputs if part is not None)
    return outputs


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


def provider(device: torch.device) -> str:
    """Return the provider by which ONNX Runtime runs what PyTorch has on a device; the CPU's where it has no other."""
    import onnxruntime

    wanted = PROVIDERS.get(device.type, CPU_PROVIDER)
    return wanted if wanted in onnxruntime.get_available_providers() else CPU_PROVIDER


def session(file: Path, threads: int = 1, device: torch.device = CPU) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on a device, or on the CPU, limited to this many threads.

    Raises:
        UserError: it has a provider for the device, but that does not start.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    name = provider(device)
    here = [] if name == CPU_PROVIDER else [(name, {"device_id": device.index or 0})]
    found = onnxruntime.InferenceSession(file, options, providers=[*here, CPU_PROVIDER])
    if name not in found.get_providers():
        raise UserError(f"ONNX Runtime cannot start its {name}: see what it writes, or measure in --latency eager")
    return found


def one_pass(session: onnxruntime.InferenceSession, inputs: Any, device: torch.device = CPU) -> Callable[[], Any]:
    """Return a forward pass over inputs that lie where the session runs, and whose outputs stay there."""
    values = feed(session, inputs)
    if session.get_providers()[0] == CPU_PROVIDER:
        return lambda: session.run(None, values)
    return bound(session, values, device.type, device.index or 0)


def bound(
    session: onnxruntime.InferenceSession, values: dict[str, Any], kind: str, index: int = 0
) -> Callable[[], Any]:
    """Return a forward pass of a session whose inputs and outputs lie on a device, ``cuda`` 0 say."""
    import onnxruntime

    binding = session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, kind, index))
    for output in session.get_outputs():
        binding.bind_output(output.name, kind, index)

    def run() -> Any:
        session.run_with_iobinding(binding)  # ends when the device has done it
        return binding.get_outputs()

    return run
