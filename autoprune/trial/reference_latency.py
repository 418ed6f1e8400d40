"""A trial's latency beside the dense model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.base.device import CPU
from autoprune.base.machine import processor
from autoprune.cache import cached, key_of
from autoprune.measure.latency import compare, make_pass, median, pinned, time_in_turn, where
from autoprune.prune.dense import Dense


def reference_ms(dense: Dense, example_input: Any, runtime: str, batch_size: int) -> float:
    """Return the dense model's median latency in milliseconds, measured once on this machine and then remembered.

    A search multiplies the measured ratios with it, so that all of its trials refer to the same dense latency.
    """

    def make(file: Path) -> None:
        with pinned(1):
            one_pass = make_pass(dense.model, example_input, runtime, batch_size)
            (times,) = time_in_turn([one_pass])
        file.write_text(json.dumps(median(times)))

    elsewhere = None if dense.device == CPU else where(runtime, dense.device)
    key = key_of(dense=dense.key, runtime=runtime, batch_size=batch_size, processor=processor(), where=elsewhere)
    return float(json.loads(cached("latency", runtime, key, ".json", make).read_text()))


def beside_reference(
    dense: Dense, pruned: nn.Module, example_input: Any, runtime: str, batch_size: int
) -> tuple[float, float]:
    """Return a pruned network's latency and the dense one's in milliseconds, as a search's trials report them.

    The dense latency is the reference; the pruned one is the reference divided by the speed-up of the fastest passes,
    measured with both networks in turn. So what else the machine does during one trial cancels out, and trials can be
    compared.
    """
    reference = reference_ms(dense, example_input, runtime, batch_size)
    return reference / compare(dense.model, pruned, example_input, runtime, batch_size).speedup_fastest, reference
