"""The size and the speed of a network."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from autoprune.base.device import milliseconds
from autoprune.base.modes import evaluating
from autoprune.base.tree import beside, call, device_of, examples_in
from autoprune.measure.memory import memory
from autoprune.measure.packing import pack


def measure(model: nn.Module, example_input: Any, with_latency: bool = True) -> dict[str, float]:
    """Return ``params``, ``macs``, ``bytes`` and, unless told not to, ``latency_ms``, as counted below."""
    sizes = {"params": parameters(model), "macs": macs(model, example_input), "bytes": compressed_bytes(model)}
    return sizes | ({"latency_ms": latency_ms(model, example_input)} if with_latency else {})


def optional(names: Iterable[str], model: nn.Module, example_input: Any, batch_size: int = 1) -> dict[str, float]:
    """Return those of the optional measures (:data:`autoprune.results.measures.OPTIONAL`) that are named."""
    return {name: _OPTIONAL[name](model, example_input, batch_size) for name in names}


_OPTIONAL = {"memory": memory}


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
"""What PyTorch's FLOP counter knows by itself only from 2.15 on."""


def parameters(model: nn.Module) -> int:
    """Return the number of non-zero parameters: all of them in a dense or physically smaller network."""
    return sum(int(p.count_nonzero()) for p in model.parameters())


def macs(model: nn.Module, example_input: Any) -> int:
    """Return the multiply-accumulates that one example really costs, by PyTorch's own FLOP counter.

    Zeros in a weight tensor are multiplied like any other number on ordinary hardware, so they count: unstructured
    sparsity saves bytes, not MACs.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not see into fused attention
    try:
        with evaluating(model), torch.no_grad(), counting(model) as counter:
            call(model, beside(model, example_input))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2 // examples_in(example_input)


@contextmanager
def counting(model: nn.Module) -> Iterator[FlopCounterMode]:
    """Count the FLOPs of ``model``, two to a multiply-accumulate, but for those of PyTorch's fused attention layers.

    No parameter requires a gradient meanwhile: else the counter fails on a module that is given a part of one, such as
    DeBERTa-v2's table of positions.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
            yield counter
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def compressed_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers in a packed file: what a download would weigh.

    The one measure of size that is fair to dense, physically smaller and unstructured sparse networks alike.
    """
    return len(pack(model.state_dict()))


@torch.no_grad()
def latency_ms(model: nn.Module, example_input: Any, runs: int = 50, warmup: int = 10) -> float:
    """Return the median time of one forward pass over ``example_input``, in milliseconds, in eager PyTorch."""
    return latencies_ms([model], example_input, runs, warmup)[0]


@torch.no_grad()
def latencies_ms(models: list[nn.Module], example_input: Any, runs: int = 50, warmup: int = 10) -> list[float]:
    """Return each model's median forward time in milliseconds, timed in turn so that noise hits all of them alike."""
    times: list[list[float]] = [[] for _ in models]
    placed = [(model, beside(model, example_input), device_of(model)) for model in models]
    with ExitStack() as modes:
        for model in models:
            modes.enter_context(evaluating(model))
        for run in range(warmup + runs):
            for (model, inputs, device), record in zip(placed, times, strict=True):
                took = milliseconds(partial(call, model, inputs), device)
                if run >= warmup:
                    record.append(took)
    return [statistics.median(record) for record in times]
