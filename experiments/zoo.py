"""Prune every classification model of torchvision by half, prove it, and print a table (``make zoo``).

    python experiments/zoo.py                                  # all classification models
    python experiments/zoo.py --models resnet50,vit_b_16
    python experiments/zoo.py --segmentation --detection       # these families instead
    python experiments/zoo.py --csv zoo.csv --markdown zoo.md

Each model runs in a process of its own, under a limit of time and of memory. Half of every group goes (unrounded). The
error is the largest difference between the outputs of the smaller network and of the dense one whose channels are set
to zero, over the largest output, in double precision (single above 150 million parameters). Weights are
random: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PASS = 1e-4
LARGE = 150
"""Millions of parameters from which the proof computes in single precision, to spare memory."""
COLUMNS = {
    "model": "model",
    "image": "image",
    "groups": "groups",
    "left_alone": "left alone",
    "params": "parameters (M)",
    "params_after": "at 50 %",
    "macs": "MACs (G)",
    "macs_after": "at 50 %",
    "find_s": "find (s)",
    "remove_s": "remove (s)",
    "peak_gb": "peak (GB)",
    "error": "error",
    "result": "result",
}
SIZES = {"maxvit_t": 224, "inception_v3": 96, "vit_h_14": 56, "alexnet": 96}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="only these, with commas between")
    parser.add_argument("--segmentation", action="store_true")
    parser.add_argument("--detection", action="store_true")
    parser.add_argument("--size", type=int, default=64, help="height and width of the image, where the model allows")
    parser.add_argument("--seconds", type=int, default=600, help="limit for each model")
    parser.add_argument("--memory", type=float, default=14, help="limit for each model, in GB of address space")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print("RESULT " + json.dumps(prune(options.one, options.size)))
        return
    rows = []
    for name in options.models.split(",") if options.models else names(options):
        rows.append(in_own_process(name, options))
        print("  ".join(f"{text(rows[-1], column):>9}" for column in COLUMNS), flush=True)
        if options.csv:
            write_csv(options.csv, rows)
        if options.markdown:
            options.markdown.write_text(markdown(rows))
    passed = sum(row["result"] == "pass" for row in rows)
    print(f"{passed} of {len(rows)} models pruned and proved")


def names(options: argparse.Namespace) -> list[str]:
    import torchvision.models as tv

    families = [tv.segmentation] * options.segmentation + [tv.detection] * options.detection
    return [name for family in families or [tv] for name in tv.list_models(module=family)]


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (int(options.memory * 2**30),) * 2)

    command = [sys.executable, "-W", "ignore", __file__, "--one", name, "--size", str(options.size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.seconds, preexec_fn=limit, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"model": name, "result": f"more than {options.seconds} s"}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    memory = "emory" in done.stderr
    return {"model": name, "result": f"more than {options.memory:g} GB" if memory else last[:120]}


def prune(name: str, size: int) -> dict[str, Any]:
    import torch

    from autoprune.measure import measure
    from autoprune.prune.account import GOES_WITH
    from autoprune.prune.find import find_groups
    from autoprune.prune.proof import equivalence_error, half
    from autoprune.prune.random_values import randomise
    from autoprune.prune.removal import remove_channels

    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernel counts no MACs
    model, example, image = build(name, size)
    randomise(model).eval()
    start = time.perf_counter()
    groups = find_groups(model, example)
    found = time.perf_counter()
    removed = {group.name: half(group) for group in groups}
    smaller = remove_channels(model, example, groups, removed)
    done = time.perf_counter()
    sizes = {
        f"{what}{suffix}": value / scale
        for suffix, network in (("", model), ("_after", smaller))
        for what, value, scale in (
            ("params", sum(p.numel() for p in network.parameters()), 1e6),
            ("macs", macs(network, example, measure), 1e9),
        )
    }
    del smaller
    double = sizes["params"] < LARGE
    error = equivalence_error(model, example, groups, removed, double=double)
    failed = [f"{name}: {why}" for name, why in groups.left_alone.items() if "fails" in why or "changes" in why[-60:]]
    result = "pass" if error <= PASS and len(groups) else f"error {error:.1e}" if len(groups) else "no group"
    return sizes | {
        "model": name,
        "image": image,
        "groups": len(groups),
        "left_alone": sum(not why.startswith(GOES_WITH) for why in groups.left_alone.values()),
        "reasons": groups.left_alone,
        "failed": failed,
        "find_s": found - start,
        "remove_s": done - found,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "error": error,
        "result": result,
    }


def macs(model, example, measure) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from autoprune.prune.graph.trace import call

    if isinstance(example, torch.Tensor):
        return measure.macs(model, example)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(model, example)
    return counter.get_total_flops() // 2


def build(name: str, size: int) -> tuple[Any, Any, int]:
    """Return the model, its example input, and the side of the image."""
    import torch
    import torchvision.models as tv

    more: dict[str, Any] = {}
    size = SIZES.get(name, size)
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": False}
    elif name.startswith("vit"):
        more = {"image_size": size}
    elif name in tv.list_models(module=tv.segmentation):
        more = {"weights_backbone": None}
    elif name in tv.list_models(module=tv.detection):
        size = 320 if "320" in name else 300 if name.startswith("ssd") else 128
        more = {"weights_backbone": None, "num_classes": 5}
        if "320" not in name and "300" not in name:
            more |= {"min_size": size, "max_size": size}
        model = tv.get_model(name, weights=None, **more)
        return model, ([torch.rand(3, size, size)],), size
    return tv.get_model(name, weights=None, **more), torch.randn(1, 3, size, size), size


def text(row: dict[str, Any], column: str) -> str:
    value = row.get(column, "")
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0e}" if column == "error" else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(text(row, column) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
