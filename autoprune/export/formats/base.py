"""What an export format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.task.task import Task

Run = Callable[[Any], Tensor]
"""Inputs of N examples, as the task's example has them -> the main output, in a file's own runtime."""


class ExportMismatch(UserError):
    """An exported file computes something else than the model."""


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    Args:
        suffix: ending of the file's name, after the dot.
        runtime: what runs it, for people.
        write: ``write(model, inputs, file)``; the inputs, of 2 examples or more, are for tracing.
        load: ``load(file, task, threads)`` returns a function that runs the file in its own runtime.
        how_to_load: lines of Python that load and run a file; ``{file}`` is its name.
        standalone: whether it runs without the code of the model's class.
    """

    suffix: str
    runtime: str
    write: Callable[[nn.Module, Any, Path], None]
    load: Callable[[Path, Task, int], Run]
    how_to_load: str
    standalone: bool = True
