"""Files that a runtime loads, each loaded back and compared with the model that it came from.

A new format is one small file with a :class:`Format`, and one line in :data:`FORMATS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base.device import CPU, on_cpu
from autoprune.base.files import replacing
from autoprune.base.modes import evaluating
from autoprune.base.packages import require
from autoprune.base.places import check_file, check_folder
from autoprune.base.registry import Registry
from autoprune.base.tree import as_inputs, call, examples, repeated, to_device
from autoprune.errors import UserError, in_a_line
from autoprune.export.formats import pt2
from autoprune.export.formats.base import ExportMismatch, Format, Run
from autoprune.export.formats.state_dict import load_pruned
from autoprune.measure.latency import Comparison, compare_passes, pinned
from autoprune.task.objective import main_output
from autoprune.task.task import Data, Task
from autoprune.train import evaluation, loading

__all__ = ["FORMATS", "TOLERANCE", "ExportMismatch", "Exported", "Format", "export", "load_pruned"]

FORMATS: Registry[Format] = Registry(
    "format",
    {
        "pt2": "autoprune.export.formats.pt2:FORMAT",
        "onnx": "autoprune.export.formats.onnx:FORMAT",
        "state_dict": "autoprune.export.formats.state_dict:FORMAT",
        "openvino": "autoprune.export.formats.openvino:FORMAT",
        "transformers": "autoprune.export.formats.transformers:FORMAT",
    },
    "autoprune.formats",
)
"""Name -> format."""

NO_MAIN = "its outputs have no main tensor by which an exported file could be checked"

NO_TFLITE = (
    "format tflite cannot be written: LiteRT's converter, litert-torch 0.10, allows no torch from 2.15 on; "
    "use onnx or openvino (docs/export.md says what was tried)"
)

TOLERANCE = 1e-4
"""Largest difference allowed between an exported model's outputs and the original's, relative to its largest output."""


@dataclass(frozen=True)
class Exported:
    """A model file that was loaded back by its own runtime and compared with the model.

    Args:
        format: a name in :data:`FORMATS`, or ``onnx_int8``.
        file: where it is.
        bytes: its size, with the files that belong to it.
        quality: the metric of the loaded file on the validation split.
        difference: the largest difference of its outputs from the model's, relative to the model's largest output;
            None for a quantised file, which is held to its metric.
        latency: of one example, in the file's own runtime, beside the dense model in the same runtime.
        how_to_load: lines of Python.
        test_quality: the same on the test split, where that is not the model's.
    """

    format: str
    file: Path
    bytes: int
    quality: float
    difference: float | None
    latency: Comparison
    how_to_load: str
    test_quality: float | None = None


def usual() -> tuple[str, ...]:
    """Return the formats that are written where none is named: those that need nothing more installed."""
    return tuple(name for name, kind in FORMATS.items() if not kind.package)


def formats_for(names: str | None, place: Path) -> tuple[str, ...]:
    """Return the formats in a comma-separated list; for None that of the file ``place``, or the usual for a folder.

    Raises:
        UserError: an unknown one.
    """
    if names is None:
        fitting = [name for name, kind in FORMATS.items() if place.name.endswith("." + kind.suffix)]
        return tuple(fitting) if fitting and not place.is_dir() else usual()
    formats = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in formats if name not in FORMATS]
    if "tflite" in unknown:
        raise UserError(NO_TFLITE)
    if unknown:
        raise UserError(f"unknown format {unknown[0]!r}: use {', '.join(FORMATS)}, or several with commas")
    return formats


def files_at(place: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Return the file of each format: ``place`` itself if it ends as one of them, else ``model.SUFFIX`` in that folder.

    A dot in a folder's name (``resnet18.v2``) makes no file of it.

    Raises:
        UserError: one file for several formats, a place that cannot be written, or a format whose package is missing.
    """
    for name in formats:
        if package := FORMATS[name].package:
            require(package, FORMATS[name].extra or package, f"format {name}")
    if place.is_dir() or not place.name.endswith(tuple("." + kind.suffix for kind in FORMATS.values())):
        check_folder(place)
        return {name: place / f"model.{FORMATS[name].suffix}" for name in formats}
    if len(formats) > 1:
        raise UserError(
            f"{place} is one file for the formats {', '.join(formats)}: name one with --format, or a folder"
        )
    check_file(place)
    return {formats[0]: place}


def refused(task: Task, model: nn.Module, formats: Sequence[str]) -> dict[str, str]:
    """Return which formats cannot hold a task's networks, and why, by a look at one of them, which may be untrained.

    What only a format's own converter refuses is found when it writes a file.
    """
    inputs = to_device(repeated(task.example, 2), CPU)
    model = on_cpu(model)
    with torch.no_grad(), evaluating(model):
        if main_output(call(model, inputs)) is None:
            return dict.fromkeys(formats, NO_MAIN)
        traced = [name for name in formats if FORMATS[name].traced]
        try:
            if traced:
                pt2.traced(model, inputs)
        except Exception as error:
            return dict.fromkeys(traced, f"torch.export refuses this model: {in_a_line(error)}")
    return {}


def export(
    task: Task,
    model: nn.Module,
    dense: nn.Module,
    validation: Data,
    files: dict[str, Path],
    threads: int = 1,
    runs: int = 50,
) -> dict[str, Exported]:
    """Write ``model`` in several formats, load each file back in its own runtime, and compare: on the CPU.

    Args:
        dense: the dense network, to compare latencies in the same runtime.
        validation: the validation split; every example is run through every file.
        files: where each format goes; folders are made if need be.
        threads: CPU threads of the runtimes.
        runs: timed passes of each file.

    Raises:
        ExportMismatch: a file's outputs differ from the model's. The file is removed.
    """
    batch = next(loading.batches(validation, 128))
    model, dense = on_cpu(model), on_cpu(dense)
    with pinned(threads), torch.no_grad(), evaluating(model), evaluating(dense):
        inputs = task.inputs(model, batch)
        return {
            name: _export(name, task, model, dense, validation, inputs, file, threads, runs)
            for name, file in files.items()
        }


def _export(name, task, model, dense, validation, inputs, file, threads, runs) -> Exported:
    kind = FORMATS[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as draft:
        try:
            kind.write(model, inputs, draft)
        except Exception as error:
            why = in_a_line(error)
            raise UserError(f"format {name} cannot hold this model: {why}: leave it out with --format") from error
    run = kind.load(file, task, threads)
    expected = main_output(call(model, inputs))
    if expected is None:
        raise UserError(f"task {task.name}: {NO_MAIN}")
    outputs = torch.cat([run(part) for part in (examples(inputs, 0, 1), examples(inputs, 1))])  # two batch sizes
    difference = float((outputs - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if outputs.shape != expected.shape or not difference <= TOLERANCE:
        for each in kind.files(file):
            each.unlink()
        if kind.folder:
            file.rmdir()
        raise ExportMismatch(f"{file} differs from the pruned model by {difference:.1e} (relative): it was removed")
    return Exported(
        name,
        file,
        sum(each.stat().st_size for each in kind.files(file)),
        evaluation.quality(task, AsModule(run, task.example), validation),
        difference,
        time_beside_dense(name, task, run, dense, threads, runs),
        kind.how_to_load.format(file=file.name, task=task.name),
    )


def time_beside_dense(name: str, task: Task, run: Run, dense: nn.Module, threads: int, runs: int) -> Comparison:
    """Time a loaded file on one example, in turn with the dense model in the format called ``name``."""
    one = task.example
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"dense.{FORMATS[name].suffix}")
        FORMATS[name].write(dense, repeated(one, 2), file)
        dense_run = FORMATS[name].load(file, task, threads)
    return compare_passes(lambda: dense_run(one), lambda: run(one), (name, 1, threads), runs, 10)


class AsModule(nn.Module):
    """A loaded file as a module, so that what evaluates models evaluates it too."""

    def __init__(self, run: Run, example: Any = None) -> None:
        super().__init__()
        self._run = lambda inputs: run(inputs)  # hidden in a function: torch.export's modules refuse eval()
        self._names = set(example) if isinstance(example, Mapping) else None

    def forward(self, *positional: Any, **named: Any) -> Tensor:
        """Return the file's main output."""
        if self._names is not None:
            named = {name: value for name, value in named.items() if name in self._names}
        return self._run(as_inputs(positional, named))
