"""Latency, measured: forward passes in the runtime that will be used, dense and pruned in turn on the same machine.

A busy or throttled machine slows two networks that are timed in turn alike, so their ratio is steadier than either
time. Speed-ups are therefore medians over the turns' own ratios, not ratios of two medians. Steadiest is the ratio of
the fastest passes, because other work only ever adds time; a search compares its trials by that one
(experiments/latency_noise.py measures all of them on a disturbed machine).
"""

from __future__ import annotations

import contextlib
import copy
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from autoprune.base import checked
from autoprune.base.device import CPU, has_events, milliseconds, name_of, synchronise
from autoprune.base.tree import beside, device_of, repeated
from autoprune.errors import UserError
from autoprune.measure import onnx
from autoprune.measure.runtimes import RUNTIMES, Pass


@dataclass(frozen=True)
class Timing:
    """The time of one forward pass.

    Args:
        runtime: a name in :data:`RUNTIMES`, or an exported file's format.
        batch_size: examples per pass.
        threads: CPU threads of the runtime.
        median_ms: milliseconds per pass, of the whole batch.
        low_ms: the lower quartile.
        high_ms: the upper quartile.
        runs: how many passes were timed.
    """

    runtime: str
    batch_size: int
    threads: int
    median_ms: float
    low_ms: float
    high_ms: float
    runs: int


@dataclass(frozen=True)
class Comparison:
    """A pruned network's time beside the dense one's, measured in turn.

    Args:
        dense: the dense network's time.
        pruned: the pruned network's.
        speedup: the median over all turns of dense time / pruned time; above 1 the pruned network is faster.
        speedup_low: the lower quartile of these ratios.
        speedup_high: the upper quartile.
        speedup_fastest: the dense network's fastest pass / the pruned one's.
        where: what ran the passes, and by what they were timed, see :func:`where`; empty if it is not known.
    """

    dense: Timing
    pruned: Timing
    speedup: float
    speedup_low: float
    speedup_high: float
    speedup_fastest: float
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain nested dictionaries."""
        return asdict(self)


def compare(
    dense: nn.Module,
    pruned: nn.Module,
    example_input: Any,
    runtime: str = "eager",
    batch_size: int = 1,
    threads: int = 1,
    runs: int = 50,
    warmup: int = 10,
) -> Comparison:
    """Time two networks in turn.

    Args:
        example_input: one example, a tensor ``(1, ...)`` or several; repeated to the batch size.
        runtime: a name in :data:`RUNTIMES`.
        threads: CPU threads that the runtime may use.
        runs: timed passes of each network.
        warmup: passes of each before the first timed one.

    Raises:
        UserError: an unknown runtime, or a number below 1.
    """
    with pinned(threads):
        before, after = (make_pass(each, example_input, runtime, batch_size, threads) for each in (dense, pruned))
        found = compare_passes(before, after, (runtime, batch_size, threads), runs, warmup)
    return replace(found, where=where(runtime, device_of(pruned)))


def compare_passes(dense: Pass, pruned: Pass, how: tuple[str, int, int], runs: int, warmup: int) -> Comparison:
    """Time two forward passes in turn; ``how`` is their runtime, batch size and threads."""
    before, after = time_in_turn([dense, pruned], runs, warmup)
    low, middle, high = _quartiles([d / p for d, p in zip(before, after, strict=True)])
    return Comparison(timing(before, how), timing(after, how), middle, low, high, min(before) / min(after))


def make_pass(model: nn.Module, example_input: Any, runtime: str, batch_size: int = 1, threads: int = 1) -> Pass:
    """Return one forward pass of ``model`` in a runtime, compiled or converted for it already, in evaluation mode.

    Raises:
        UserError: an unknown runtime, or a batch size or number of threads below 1.
    """
    check(runtime, batch_size, threads)
    inputs, device = repeated(beside(model, example_input), batch_size), device_of(model)
    if any(layer.training for layer in model.modules()):
        model = copy.deepcopy(model).eval()  # the caller's stays in the mode that it is in
    one_pass = RUNTIMES[runtime](model, inputs, threads)
    return one_pass if device.type == "cpu" else _OnDevice(one_pass, device)


@dataclass(frozen=True)
class _OnDevice:
    """A pass that ends when the device has done it, and not as soon as it was asked to."""

    run: Pass
    device: torch.device

    def __call__(self) -> Any:
        outputs = self.run()
        synchronise(self.device)
        return outputs


def where(runtime: str, device: torch.device) -> str:
    """Return what runs a network that lies on a device in a runtime, and by what it is timed, in words."""
    if runtime == "onnxruntime":
        return f"ONNX Runtime, {onnx.provider(device)}"
    if runtime == "openvino":
        return "OpenVINO on the CPU"
    clock = f", by {'its events' if has_events(device) else 'the clock'}" if device != CPU else ""
    return f"PyTorch ({runtime}) on {name_of(device)}{clock}"


def check(runtime: str, batch_size: int, threads: int) -> None:
    """Check how a latency is to be measured.

    Raises:
        UserError: an unknown runtime, one that is not installed, or a batch size or number of threads that cannot be.
    """
    RUNTIMES[runtime]
    checked.check("batch size", batch_size, checked.Batch)
    check_threads(threads)


def check_threads(threads: int) -> None:
    """Check a number of CPU threads: more than there are cores measure nothing, and many end the process.

    Raises:
        UserError: it is below 1, or above the machine's cores.
    """
    checked.check("threads", threads, Annotated[int, Field(ge=1, le=max(os.cpu_count() or 1, 2))])


def time_in_turn(passes: Sequence[Pass], runs: int = 50, warmup: int = 10) -> list[list[float]]:
    """Return the times of each pass in milliseconds, taken in turn so that noise hits all of them alike.

    Before each timed pass runs one that is not timed: it refills the caches that the other networks have emptied.
    """
    times: list[list[float]] = [[] for _ in passes]
    with torch.no_grad():
        for run in range(warmup + runs):
            for one_pass, record in zip(passes, times, strict=True):
                one_pass()
                took = _milliseconds(one_pass)
                if run >= warmup:
                    record.append(took)
    return times


def _milliseconds(one_pass: Pass) -> float:
    if isinstance(one_pass, _OnDevice):
        return milliseconds(one_pass.run, one_pass.device)
    return milliseconds(one_pass, CPU)


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Let PyTorch use this many CPU threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def median(times: list[float]) -> float:
    """Return the middle one of some times."""
    return statistics.median(times)


def timing(times: list[float], how: tuple[str, int, int]) -> Timing:
    """Return what was measured in a runtime, at a batch size, on so many threads."""
    low, median, high = _quartiles(times)
    return Timing(*how, median, low, high, len(times))


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def parse_sizes(text: str) -> list[int]:
    """Return the batch sizes in a comma-separated list.

    Raises:
        UserError: one is not a whole number.
    """
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"{text!r} is not a list of batch sizes, such as 1,32") from None
