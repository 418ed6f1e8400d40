"""Files that a runtime loads, each loaded back and compared with the model that it came from."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from autoprune.pruning.channels import rebuild
from autoprune.task import Task

TOLERANCE = 1e-4
"""Largest difference allowed between an exported model's outputs and the original's, relative to its largest output."""


class ExportMismatch(Exception):
    """An exported file computes something else than the model."""


def load_pruned(task: Task, file: Path) -> nn.Module:
    """Return the pruned network whose state dict is in ``file``, in evaluation mode."""
    return rebuild(task.build(), torch.load(file, weights_only=True))


def export(task: Task, model: nn.Module, inputs: Tensor, folder: Path) -> dict[str, Path]:
    """Write ``model`` in every format and check each file.

    Args:
        inputs: real inputs to compare outputs on, shape ``(N, ...)`` with N of 2 or more.
        folder: is made if need be.

    Returns:
        The files, by format: ``pt2`` (torch.export), ``onnx``, and ``state_dict``. The first two take any batch size
        and need nothing of AutoPrune.

    Raises:
        ExportMismatch: a file's outputs differ from the model's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    with torch.no_grad():
        expected = model(inputs)
    files = {}
    for name, (suffix, write, run) in FORMATS.items():
        files[name] = folder / f"model.{suffix}"
        with _quiet():
            write(model, inputs, files[name])
            found = run(task, files[name], inputs)
        error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
        if found.shape != expected.shape or not error <= TOLERANCE:
            raise ExportMismatch(f"{files[name]} differs from the pruned model by {error:.1e} (relative)")
    return files


def _write_state_dict(model: nn.Module, inputs: Tensor, file: Path) -> None:
    torch.save(model.state_dict(), file)


def _run_state_dict(task: Task, file: Path, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return load_pruned(task, file)(inputs)


def _write_pt2(model: nn.Module, inputs: Tensor, file: Path) -> None:
    torch.export.save(torch.export.export(model, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},)), file)


def _run_pt2(task: Task, file: Path, inputs: Tensor) -> Tensor:
    module = torch.export.load(file).module()
    with torch.no_grad():
        assert len(module(inputs[:2])) == 2  # another batch size than the one it was traced with
        return module(inputs)


def _write_onnx(model: nn.Module, inputs: Tensor, file: Path) -> None:
    torch.onnx.export(
        model,
        (inputs,),
        file,
        dynamo=True,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def _run_onnx(task: Task, file: Path, inputs: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {"input": part.numpy()})[0] for part in (inputs[:1], inputs[1:])]
    return torch.cat([torch.from_numpy(output) for output in outputs])


FORMATS = {
    "pt2": ("pt2", _write_pt2, _run_pt2),
    "onnx": ("onnx", _write_onnx, _run_onnx),
    "state_dict": ("state_dict.pt", _write_state_dict, _run_state_dict),
}
"""Format -> file name's ending, how it is written, and how its runtime runs it."""


@contextlib.contextmanager
def _quiet():
    """Keep the exporters' progress reports off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
