"""Eight-bit integers: quantising a pruned network for ONNX Runtime, after training or with training for it.

What quantises is a :class:`Quantiser`; a new one is a file with it, and a line in :data:`QUANTISERS`.

Weights are quantised per output channel, activations per tensor, both to signed eight-bit integers, in ONNX's
tensor-oriented form (QuantizeLinear and DequantizeLinear around each operator), which ONNX Runtime's documentation
names as the first choice. Of a network that reads token ids only the weights are quantised beforehand, and the ranges
of its activations are taken anew in each pass, as the same documentation says of transformers: among attention scores,
of which the mask sends some to minus infinity, one range for all examples leaves nothing of the others.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.base.device import CPU
from autoprune.base.quiet import quiet
from autoprune.base.registry import Registry
from autoprune.base.tree import as_arguments, device_of, repeated, tensors_of, to_device
from autoprune.errors import UserError
from autoprune.export.formats import onnx
from autoprune.measure import onnx as onnx_file
from autoprune.task.task import Data, Splits, Task
from autoprune.train import loading, loop

CALIBRATION = 512
"""Training examples from which the ranges of the activations are taken."""

LEARNING_RATE_SHARE = 0.1
"""Quantisation-aware fine-tuning learns at this share of the recovery's learning rate: the network is nearly there."""


@dataclass(frozen=True)
class Request:
    """What is to be quantised.

    Args:
        model: the pruned network, in evaluation mode, on the CPU; stays as it is.
        teacher: the dense network, on the device where networks are trained.
        data: of which only the training split may be read.
        qat_steps: steps of quantisation-aware fine-tuning that were asked for; 0 for none.
    """

    task: Task
    model: nn.Module
    teacher: nn.Module
    data: Splits
    qat_steps: int = 0
    seed: int = 0

    @property
    def reads_tokens(self) -> bool:
        """Whether the inputs are token ids."""
        return not any(tensor.is_floating_point() for tensor in tensors_of(self.task.example))


@dataclass(frozen=True)
class Quantiser:
    """A way to eight-bit integers; of those that apply the best on validation data is taken.

    Args:
        method: ``method(request)`` says for people how it quantises, or returns None where it does not apply.
        write: ``write(request, file)`` writes an eight-bit ONNX file, its input named ``input``.
    """

    method: Callable[[Request], str | None]
    write: Callable[[Request, Path], None]


QUANTISERS: Registry[Quantiser] = Registry(
    "quantiser",
    {
        "static": "autoprune.export.quantize:STATIC",
        "dynamic": "autoprune.export.quantize:DYNAMIC",
        "aware": "autoprune.export.quantize:AWARE",
    },
    "autoprune.quantisers",
)


def post_training(task: Task, model: nn.Module, calibration: Data, file: Path, seed: int = 0, **options: Any) -> None:
    """Write ``model`` as an eight-bit ONNX file, by ONNX Runtime's static quantisation.

    Args:
        calibration: training examples; :data:`CALIBRATION` of them are run.
        seed: which ones.
        options: more of ``onnxruntime.quantization.quantize_static``, such as ``calibrate_method``.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, parts: Iterator[Any]) -> None:
            self.parts = parts

        def get_next(self) -> dict | None:
            part = next(self.parts, None)
            return None if part is None else dict(zip(names, (each.numpy() for each in tensors_of(part)), strict=True))

    parts = _calibration(task, model, calibration, seed)
    names = list(parts[0]) if isinstance(parts[0], dict) else ["input"]
    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, prepared = Path(folder, "plain.onnx"), Path(folder, "prepared.onnx")
        onnx.write(model, parts[0], plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            file,
            Reader(iter(parts)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            **options,
        )


def dynamic(model: nn.Module, inputs: Any, file: Path) -> None:
    """Write ``model`` as an eight-bit ONNX file whose activations are quantised as it runs.

    Args:
        inputs: of 2 examples or more, for tracing.
    """
    import onnx as onnx_format
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, prepared = Path(folder, "plain.onnx"), Path(folder, "prepared.onnx")
        onnx.write(model, inputs, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        content = onnx_format.load(prepared)
        del content.graph.value_info[:]  # the shapes of weights that quantize_dynamic transposes
        quantize_dynamic(content, file, weight_type=QuantType.QInt8, per_channel=True)


def quantization_aware(
    task: Task, model: nn.Module, teacher: nn.Module, data: Splits, steps: int, file: Path, seed: int = 0
) -> None:
    """Fine-tune ``model`` with its rounding errors in view and write it as an eight-bit ONNX file, by torchao.

    ``model`` stays as it is. Only the training split is read.

    Args:
        teacher: the dense network, whose outputs the recovery's recipe distils; where it lies, training takes place.
        steps: optimiser steps of the task's recovery recipe, at :data:`LEARNING_RATE_SHARE` of its learning rate.

    Raises:
        UserError: torchao is not installed.
        TrialFailure: the loss is NaN or infinite.
    """
    if importlib.util.find_spec("torchao") is None:
        raise UserError("quantisation-aware fine-tuning needs torchao: pip install 'autoprune[qat]'")
    with quiet():
        from torch.export.passes import move_to_device_pass
        from torchao.quantization.pt2e import allow_exported_model_train_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

        from autoprune.export.quantizer import Int8Quantizer

        device, inputs = device_of(teacher), _calibration(task, model, data.train, seed)[0]
        batch = onnx_file.batch_shapes(inputs)

        def traced(model: nn.Module, start: torch.device, end: torch.device) -> torch.export.ExportedProgram:
            positional, named = as_arguments(to_device(inputs, start))
            program = torch.export.export(model, positional, named or None, dynamic_shapes=batch)
            return move_to_device_pass(program, end) if start != end else program

        with torch.enable_grad():
            trainable = traced(copy.deepcopy(model).eval(), CPU, device).module()
            prepared = allow_exported_model_train_eval(prepare_qat_pt2e(trainable, Int8Quantizer())).to(device)
            recipe = replace(
                task.recovery,
                steps=steps,
                learning_rate=LEARNING_RATE_SHARE * task.recovery.learning_rate,
                bn_reestimation=0,
            )
            loop.train(task, prepared, data.train, recipe, seed, teacher)
        converted = allow_exported_model_train_eval(convert_pt2e(prepared))
        converted.eval()
        onnx.write(traced(converted, device, CPU), inputs, file)


def _calibration(task: Task, model: nn.Module, data: Data, seed: int, batch_size: int = 64) -> list[Any]:
    parts = islice(loading.endless_batches(data, batch_size, seed), max(1, CALIBRATION // batch_size))
    return [task.inputs(model, part) for part in parts]


STATIC = Quantiser(
    lambda asked: None if asked.reads_tokens else f"post-training, {CALIBRATION} training examples",
    lambda asked, file: post_training(asked.task, asked.model, asked.data.train, file, asked.seed),
)
DYNAMIC = Quantiser(
    lambda asked: "post-training, activations as it runs" if asked.reads_tokens else None,
    lambda asked, file: dynamic(asked.model, repeated(asked.task.example, 2), file),
)
AWARE = Quantiser(
    lambda asked: f"quantisation-aware, {asked.qat_steps} steps" if asked.qat_steps else None,
    lambda asked, file: quantization_aware(
        asked.task, asked.model, asked.teacher, asked.data, asked.qat_steps, file, asked.seed
    ),
)
