"""OpenVINO, for Intel's processors and others: two files, NAME.xml and NAME.bin."""

from __future__ import annotations

from pathlib import Path

import torch

from autoprune.export.formats.base import Format, Run
from autoprune.measure.openvino import compiled, feed, write
from autoprune.task.task import Task


def load(file: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the files."""
    network = compiled(file, threads)
    request = network.create_infer_request()
    return lambda inputs: torch.from_numpy(request.infer(feed(network, inputs), share_inputs=True)[0])


FORMAT = Format(
    suffix="xml",
    runtime="OpenVINO",
    write=write,
    traced=True,
    load=load,
    how_to_load="import openvino\n"
    'model = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})  # and the .bin beside it\n'
    "outputs = model(inputs)[0]  # a NumPy array",
    package="openvino",
    beside=("bin",),
)
