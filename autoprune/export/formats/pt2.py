"""``torch.export``'s own file: for PyTorch, without the code of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.base.modes import evaluating
from autoprune.base.quiet import quiet
from autoprune.base.tree import as_arguments
from autoprune.export.formats.base import Format, Run, runner
from autoprune.measure.onnx import batch_shapes
from autoprune.task.task import Task


def traced(model: nn.Module, inputs: Any) -> torch.export.ExportedProgram:
    """Return ``model`` as a program with a dynamic batch dimension."""
    with quiet(), evaluating(model):
        positional, named = as_arguments(inputs)
        return torch.export.export(model, positional, named or None, dynamic_shapes=batch_shapes(inputs))


def write(model: nn.Module, inputs: Any, file: Path) -> None:
    """Write ``model`` with a dynamic batch dimension."""
    with quiet():
        torch.export.save(traced(model, inputs), file)


def load(file: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the file."""
    module = torch.export.load(file).module()
    return runner(module)


FORMAT = Format(
    suffix="pt2",
    runtime="PyTorch (torch.export)",
    write=write,
    load=load,
    traced=True,
    how_to_load='import torch\nmodel = torch.export.load("{file}").module()\noutputs = model(inputs)',
)
