"""A plain state dict: for training on, with the code of the model's class at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.base.device import CPU
from autoprune.base.tree import weights_of
from autoprune.errors import UserError
from autoprune.export.formats.base import Format, Run, runner
from autoprune.prune.rebuild import rebuild
from autoprune.task.task import Task


def load_pruned(task: Task, file: Path) -> nn.Module:
    """Return the pruned network whose state dict is in ``file``, on the CPU and in evaluation mode.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        state = torch.load(file, map_location=CPU, weights_only=True)
    except Exception as error:  # of many kinds, the unpickler's too
        why = " ".join(str(error).split("\n", 1)[0].split())
        raise UserError(f"the model file {file} cannot be read: {why or type(error).__name__}") from None
    return rebuild(task.build().cpu(), state, task.example)


def write(model: nn.Module, inputs: Any, file: Path) -> None:
    """Write the state dict of ``model``."""
    torch.save(weights_of(model), file)


def load(file: Path, task: Task, threads: int = 1) -> Run:
    """Return a function that runs the network."""
    model = load_pruned(task, file)
    return runner(model)


FORMAT = Format(
    suffix="state_dict.pt",
    runtime="PyTorch (eager)",
    write=write,
    load=load,
    how_to_load="from autoprune.export import load_pruned\n"
    "from autoprune.task.find import load_task\n"
    'model = load_pruned(load_task("{task}"), "{file}")',
    standalone=False,
)
