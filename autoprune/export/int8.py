"""An eight-bit ONNX file, held to its metric: its outputs differ from the model's by design."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from autoprune.base.device import on_cpu
from autoprune.export import AsModule, Exported, time_beside_dense
from autoprune.export.formats.base import ExportMismatch
from autoprune.export.formats.onnx import FORMAT, load
from autoprune.export.quantize import QUANTISERS, Request
from autoprune.measure.latency import pinned
from autoprune.prune.dense import Dense
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation

LARGEST_LOSS = 0.05
"""What quantisation may cost of the validation metric, as a limit on the drop counts it, before the file is refused."""


@dataclass(frozen=True)
class Quantized:
    """An eight-bit file and how it came about.

    Args:
        exported: the file.
        method: how it was quantised, for people.
        tried: validation metric by method tried, and ``float``, the model's own.
    """

    exported: Exported
    method: str
    tried: dict[str, float]


def export_int8(
    task: Task,
    model: nn.Module,
    dense: Dense,
    data: Splits,
    file: Path,
    qat_steps: int = 0,
    seed: int = 0,
    threads: int = 1,
    runs: int = 50,
) -> Quantized:
    """Quantise ``model``, load the file back in ONNX Runtime, and check that its metric is close to the model's.

    Args:
        qat_steps: steps of quantisation-aware fine-tuning, tried beside the other quantisers that apply; of all the
            best on validation data is taken. 0 for none.

    Raises:
        ExportMismatch: it costs more than :data:`LARGEST_LOSS` on validation data. No file is left.
        UserError: quantisation-aware fine-tuning without torchao.
    """
    dense_model = on_cpu(dense.model)
    asked = Request(task, on_cpu(model), dense.model, data, qat_steps, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, pinned(threads):
        files = {}
        for name, quantiser in QUANTISERS.items():
            if method := quantiser.method(asked):
                files[method] = Path(folder, f"{name}.onnx")
                quantiser.write(asked, files[method])
        found = {
            how: evaluation.quality(task, AsModule(load(each), task.example), data.validation)
            for how, each in files.items()
        }
        metric = task.metric
        best = min(reversed(found), key=lambda how: metric.cost(found[how]))
        own = evaluation.quality(task, model, data.validation)
        if metric.drop(found[best], own) > LARGEST_LOSS:
            raise ExportMismatch(
                f"eight bits cost {100 * metric.drop(found[best], own):.1f} "
                f"{'points' if metric.is_share else 'percent'} of validation {metric.noun} ({metric.write(own)} to "
                f"{metric.write(found[best])}): no file was written; try quantisation-aware fine-tuning, --qat-steps"
            )
        shutil.copy(files[best], file)
        run = load(file, task, threads)
        exported = Exported(
            "onnx_int8",
            file,
            file.stat().st_size,
            found[best],
            None,
            time_beside_dense("onnx", task, run, dense_model, threads, runs),
            FORMAT.how_to_load.format(file=file.name),
            test_quality=evaluation.quality(task, AsModule(run, task.example), data.test),
        )
    return Quantized(exported, best, {"float": own} | found)
