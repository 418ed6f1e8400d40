"""What an export format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.task.task import Task

Run = Callable[[Tensor], Tensor]
"""Inputs of shape ``(N, ...)`` -> outputs, in a file's own runtime."""


class ExportMismatch(UserError):
    """An exported file computes something else than the model."""


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    Args:
        suffix: ending of the file's name, after the dot.
        runtime: what runs it, for people.
        write: ``write(model, inputs, file)``; the inputs, shape ``(N, ...)`` with N of 2 or more, are for tracing.
        load: ``load(file, task, threads)`` returns a function that runs the file in its own runtime.
        how_to_load: lines of Python that load and run a file; ``{file}`` is its name.
        standalone: whether it runs without the code of the model's class.
    """

    suffix: str
    runtime: str
    write: Callable[[nn.Module, Tensor, Path], None]
    load: Callable[[Path, Task, int], Run]
    how_to_load: str
    standalone: bool = True
