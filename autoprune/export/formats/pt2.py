"""``torch.export``'s own file: for PyTorch, without the code of the model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from autoprune.base.quiet import quiet
from autoprune.export.formats.base import Format, Run
from autoprune.task.task import Task
from autoprune.train.modes import evaluating


def write(model: nn.Module, inputs: Tensor, file: Path) -> None:
    """Write ``model`` with a dynamic batch dimension."""
    with quiet(), evaluating(model):
        batch = {0: torch.export.Dim("batch")}
        torch.export.save(torch.export.export(model, (inputs,), dynamic_shapes=(batch,)), file)


def load(file: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the file."""
    module = torch.export.load(file).module()
    return lambda inputs: module(inputs)


FORMAT = Format(
    suffix="pt2",
    runtime="PyTorch (torch.export)",
    write=write,
    load=load,
    how_to_load='import torch\nmodel = torch.export.load("{file}").module()\noutputs = model(inputs)',
)
