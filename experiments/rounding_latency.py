"""What rounding the kept channels to a multiple of 8 does to real latency, in ONNX Runtime and in eager PyTorch.

    python experiments/rounding_latency.py

MobileNetV2 loses 30 % and ResNet-18 45 % of every group, once to the channel and once rounded as the search does it.
The dense network and both pruned ones are timed in turn, in one process, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
import torchvision.models as tv
from torch import Tensor, nn

from autoprune.measure.measure import macs, parameters
from autoprune.prune.find import find_groups
from autoprune.prune.random_values import randomise
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import channels_kept

CASES = {"mobilenet_v2": 0.30, "resnet18": 0.45}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| model | batch | network | parameters (M) | MACs (M) | ONNX Runtime (ms) | | eager (ms) | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.models:
        sparsity = CASES[name]
        torch.manual_seed(0)
        dense = randomise(tv.get_model(name, weights=None)).eval()
        example = torch.randn(1, 3, 224, 224)
        networks = {
            "dense": dense,
            f"{sparsity:.0%} less, unrounded": pruned(dense, example, sparsity, 1),
            f"{sparsity:.0%} less, rounded to 8": pruned(dense, example, sparsity, 8),
        }
        for batch in options.batches:
            inputs = example.repeat(batch, 1, 1, 1)
            runtime = timed([in_runtime(net, inputs, options.threads) for net in networks.values()], options.runs)
            eager = timed([eagerly(net, inputs) for net in networks.values()], options.runs)
            for i, (label, network) in enumerate(networks.items()):
                size = f"{parameters(network) / 1e6:.2f} | {macs(network, example) / 1e6:.0f}"
                times = (f"{t[i]:.1f} | {t[0] / t[i]:.2f}x" for t in (runtime, eager))
                print(f"| {name} | {batch} | {label} | {size} | {' | '.join(times)} |", flush=True)


def pruned(model: nn.Module, example: Tensor, sparsity: float, round_to: int) -> nn.Module:
    groups = find_groups(model, example)
    # which channels go makes no difference to the speed
    gone = {g.name: range(channels_kept(g.channels, sparsity, round_to), g.channels) for g in groups}
    return remove_channels(model, example, groups, gone)


def in_runtime(model: nn.Module, inputs: Tensor, threads: int) -> Callable[[], object]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(model, (inputs,), str(file), dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs.numpy()}
    return lambda: session.run(None, feed)


def eagerly(model: nn.Module, inputs: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        with torch.inference_mode():
            return model(inputs)

    return run


def timed(functions: list[Callable[[], object]], runs: int, warmup: int = 3) -> list[float]:
    """Return each function's median time in milliseconds, measured in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for run in range(warmup + runs):
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if run >= warmup:
                record.append((time.perf_counter() - start) * 1000)
    return [statistics.median(record) for record in times]


if __name__ == "__main__":
    main()
