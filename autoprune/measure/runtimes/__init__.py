"""Where latency can be measured, by name. A new one is a file with its ``make_pass`` and a line in :data:`RUNTIMES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from autoprune.base.registry import Registry

Pass = Callable[[], Any]
"""One forward pass over an input that it holds."""

MakePass = Callable[[nn.Module, Any, int], Pass]
"""``make_pass(model, inputs, threads)`` compiles or converts a model in evaluation mode; returns its forward pass."""

RUNTIMES: Registry[MakePass] = Registry(
    "runtime",
    {
        "eager": "autoprune.measure.runtimes.eager:make_pass",
        "compile": "autoprune.measure.runtimes.compile:make_pass",
        "onnxruntime": "autoprune.measure.runtimes.onnxruntime:make_pass",
        "openvino": "autoprune.measure.runtimes.openvino:make_pass",
    },
    "autoprune.runtimes",
)
