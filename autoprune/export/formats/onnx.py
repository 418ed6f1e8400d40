"""ONNX, for ONNX Runtime and others."""

from __future__ import annotations

from pathlib import Path

import torch

from autoprune.export.formats.base import Format, Run
from autoprune.measure.onnx import feed, session, write
from autoprune.task.task import Task


def load(file: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the file."""
    loaded = session(file, threads)
    return lambda inputs: torch.from_numpy(loaded.run(None, feed(loaded, inputs))[0])


FORMAT = Format(
    suffix="onnx",
    runtime="ONNX Runtime",
    write=write,
    traced=True,
    load=load,
    how_to_load="import onnxruntime\n"
    'session = onnxruntime.InferenceSession("{file}")\n'
    'outputs = session.run(None, {{"input": inputs}})[0]  # a NumPy array',
)
