"""What an export format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoprune.base.tree import call
from autoprune.errors import UserError
from autoprune.task.objective import main_output
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
        traced: whether ``write`` begins with ``torch.export``, so that what that refuses no such file can hold.
        package: what must be installed for it beyond what AutoPrune asks for, as it is imported; such a format is
            written only where it is named.
        extra: what AutoPrune's extra with that package is called, if not as the package.
        folder: whether ``write`` makes a folder.
        beside: endings of further files that ``write`` leaves beside the file, in the place of ``suffix``.
    """

    suffix: str
    runtime: str
    write: Callable[[nn.Module, Any, Path], None]
    load: Callable[[Path, Task, int], Run]
    how_to_load: str
    standalone: bool = True
    traced: bool = False
    package: str = ""
    extra: str = ""
    folder: bool = False
    beside: tuple[str, ...] = ()

    def files(self, file: Path) -> list[Path]:
        """Return ``file`` and those that belong to it; of a folder, what is in it."""
        if self.folder:
            return sorted(file.iterdir())
        stem = file.name.removesuffix(self.suffix)
        return [file, *(file.with_name(stem + suffix) for suffix in self.beside)]


def runner(model: Callable[..., Any]) -> Run:
    """Return a function that runs a model of PyTorch and returns its main output."""

    def run(inputs: Any) -> Tensor:
        output = main_output(call(model, inputs))
        assert output is not None  # a model without one is not exported
        return output

    return run
