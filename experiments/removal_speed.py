"""NNI's ModelSpeedup (through an fx graph) against this package's removal: same channels, same run, time and memory.

    python experiments/removal_speed.py
    python experiments/removal_speed.py --models resnet50 --repeat 3

Both get the dense model and the channels that are to go: half of each group that ModelSpeedup can do as well (groups
of plain convolutions and linear layers, no heads). Ours is timed from the model to the smaller model: the groups found
and checked (``find``, once per experiment), then removed (``remove``). ModelSpeedup is timed from its masks to the
smaller model, with the fx graph. Each measurement is a process of its own; times are the least of the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODELS = "resnet18,resnet50,mobilenet_v2,vgg16,densenet121,efficientnet_b0,googlenet,mnasnet1_0,squeezenet1_0,vit_b_16"
HEADER = [
    "model",
    "image",
    "ModelSpeedup",
    "peak",
    "ours",
    "peak",
    "find",
    "remove",
    "faster",
    "outputs differ by",
    "parameters",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print("RESULT " + json.dumps(measured(*options.one, options.size)))
        return
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    print(lines[0])
    for name in options.models.split(","):
        theirs = [in_own_process("nni", name, options) for _ in range(options.repeat)]
        ours = [in_own_process("ours", name, options) for _ in range(options.repeat)]
        lines.append(row(name, options.size, theirs, ours))
        print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


def row(name: str, size: int, theirs: list[dict], ours: list[dict]) -> str:
    if "seconds" not in ours[0]:
        return f"| {name} | {size} | | | {ours[0]['failed']} | | | | | | |"
    us = min(ours, key=lambda result: result["seconds"])
    mine = f"{us['seconds']:.2f} s | {us['peak']:.1f} GB | {us['find']:.2f} s | {us['remove'] * 1000:.0f} ms"
    if "seconds" not in theirs[0]:
        return f"| {name} | {size} | {theirs[0]['failed']} | | {mine} | | | |"
    them = min(theirs, key=lambda result: result["seconds"])
    apart = max(abs(a - b) for a, b in zip(us["output"], them["output"], strict=True)) / max(map(abs, us["output"]))
    same = (
        "equal" if us["parameters"] == them["parameters"] else f"theirs {them['parameters']}, ours {us['parameters']}"
    )
    return (
        f"| {name} | {size} | {them['seconds']:.2f} s | {them['peak']:.1f} GB | {mine} "
        f"| {them['seconds'] / us['seconds']:.0f}x | {apart:.0e} | {same} |"
    )


def in_own_process(engine: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--one", engine, name, "--size", str(options.size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    return {"failed": "fails: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:80]}


def measured(engine: str, name: str, size: int) -> dict[str, Any]:
    import torch
    import torchvision.models as tv

    from autoprune.prune.find import find_groups
    from autoprune.prune.proof import half
    from autoprune.prune.random_values import randomise
    from autoprune.prune.removal import remove_channels

    torch.manual_seed(0)
    more = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = randomise(tv.get_model(name, weights=None, **more)).eval()
    example = torch.randn(1, 3, size, size)
    if engine == "ours":
        with torch.no_grad():
            model(example)  # what PyTorch does once per process is no part of either
        start = time.perf_counter()
        groups = find_groups(model, example)
        found = time.perf_counter()
        remove = {group.name: half(group) for group in groups if group.plain}
        smaller = remove_channels(model, example, groups, remove)
        end = time.perf_counter()
        times = {"seconds": end - start, "find": found - start, "remove": end - found}
    else:
        import torch.fx
        from nni.compression.speedup import ModelSpeedup

        masks = masks_of(name, size)
        with torch.no_grad():
            model(example)
        start = time.perf_counter()
        graph = torch.fx.symbolic_trace(model)
        smaller = ModelSpeedup(model, example, masks, graph_module=graph).speedup_model()
        times = {"seconds": time.perf_counter() - start}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with torch.no_grad():
        output = smaller.eval()(example).flatten()[:50].tolist()
    sizes = {"parameters": sum(p.numel() for p in smaller.parameters())}
    return times | sizes | {"peak": peak, "output": output}


def masks_of(name: str, size: int) -> dict[str, dict[str, Any]]:
    """Return NNI's masks for the same channels; made in a process of their own, so that they cost no memory here."""
    import torch

    file = Path(f"/tmp/removal_speed_{os.getpid()}.pt")
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import removal_speed as r; "
        "torch.save(r.make_masks(sys.argv[2], int(sys.argv[3])), sys.argv[4])"
    )
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, here, name, str(size), str(file)], check=True)
    masks = torch.load(file)
    file.unlink()
    return masks


def make_masks(name: str, size: int) -> dict[str, dict[str, Any]]:
    import torch
    import torchvision.models as tv

    from autoprune.prune.find import find_groups
    from autoprune.prune.proof import half

    more = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = tv.get_model(name, weights=None, **more).eval()
    groups = find_groups(model, torch.randn(1, 3, size, size), verify=False)
    masks: dict[str, dict[str, Any]] = {}
    for group in groups:
        gone = torch.tensor(half(group))
        for part in group.slices:
            layer, _, kind = part.parameter.rpartition(".")
            if group.plain and part.role != "in" and part.dim == 0 and kind in ("weight", "bias"):
                mask = torch.ones_like(model.get_parameter(part.parameter).data)
                mask[torch.isin(part.unit, gone)] = 0
                masks.setdefault(layer, {})[kind] = mask
    return masks


if __name__ == "__main__":
    main()
