"""Where latency can be measured, by name. A new one is a file with its ``prepare`` and a line in :data:`RUNTIMES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from autoprune.base.registry import Registry

Pass = Callable[[], Any]
"""One forward pass over an input that it holds."""

Prepare = Callable[[nn.Module, Any, int], Pass]
"""``prepare(model, inputs, threads)`` compiles or converts a model in evaluation mode, and returns its forward pass."""

RUNTIMES: Registry[Prepare] = Registry(
    "runtime",
    {
        "eager": "autoprune.measure.runtimes.eager:prepare",
        "compile": "autoprune.measure.runtimes.compile:prepare",
        "onnxruntime": "autoprune.measure.runtimes.onnxruntime:prepare",
    },
    "autoprune.runtimes",
)
