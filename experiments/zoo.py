"""Find the groups of many architectures, prune half of each, prove it twice, and write docs/zoo.md (``make zoo``).

    python experiments/zoo.py                                   # all tables; what zoo.json has is not run again
    python experiments/zoo.py --tables timm,recurrent
    python experiments/zoo.py --models timm:beit_base_patch16_224,torchvision:resnet18 --again
    python experiments/zoo.py --families                        # which model of timm stands for its family

Each model runs in a process of its own, on one core, under a limit of time and of memory. Weights are random: nothing
is downloaded. What is written down for each, in zoo.json as soon as it is known, is explained in docs/zoo.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zoo_models

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "zoo.json", HERE.parent / "docs" / "zoo.md"
PASS = 1e-6
LARGE = 150
"""Millions of parameters from which the proofs compute in single precision, to spare memory; they may then differ by
1e-4."""
COLUMNS = {
    "model": "model",
    "side": "image",
    "params": "parameters (M)",
    "groups": "groups",
    "share_params": "of parameters",
    "share_macs": "of MACs",
    "heads": "heads",
    "kv_groups": "key-value groups",
    "units": "units",
    "blocks": "blocks",
    "error": "proof",
    "reference": "reference",
    "find_s": "find (s)",
    "peak_gb": "peak (GB)",
    "result": "result",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(zoo_models.TABLES), help="only these, with commas between")
    parser.add_argument("--models", help="only these, as TABLE:MODEL with commas between")
    parser.add_argument("--again", action="store_true", help="also those that zoo.json has")
    parser.add_argument("--families", action="store_true", help="choose timm's models anew, and end")
    parser.add_argument("--seconds", type=int, default=600, help="limit for each model")
    parser.add_argument("--memory", type=float, default=14, help="limit for each model, in GB of address space")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.families:
        zoo_models.choose_families()
        return
    if options.one:
        print("RESULT " + json.dumps(examine(options.one)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if options.models:
        names = options.models.split(",")
    else:
        names = [f"{table}:{name}" for table in options.tables.split(",") for name in zoo_models.TABLES[table]()]
    for name in names:
        if name in results and not options.again:
            continue
        results[name] = row = in_own_process(name, options)
        print("  ".join(f"{text(row, column):>9}" for column in COLUMNS), flush=True)
        RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
        PAGE.write_text(page(results))
    PAGE.write_text(page(results))


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (int(options.memory * 2**30),) * 2)

    command = [sys.executable, "-W", "ignore", __file__, "--one", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.seconds, preexec_fn=limit, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"result": f"more than {options.seconds} s"}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    memory = "emory" in last
    return {"result": f"more than {options.memory:g} GB" if memory else last[:120]}


def examine(name: str) -> dict[str, Any]:
    """Return what is written down for a model, ``TABLE:MODEL``."""
    import torch
    from reference import reference_error

    from autoprune.prune.account import GOES_WITH
    from autoprune.prune.blocks import find_blocks
    from autoprune.prune.find import find_groups
    from autoprune.prune.graph.trace import trace
    from autoprune.prune.proof import equivalence_error, half
    from autoprune.prune.random_values import randomise

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, example, side = zoo_models.build(name)
    randomise(model).eval()
    params = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    start = time.process_time()
    groups = find_groups(model, example)
    row: dict[str, Any] = {
        "side": side,
        "params": params,
        "groups": len(groups),
        "find_s": time.process_time() - start,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "left_alone": {
            re.sub(r"\d+", "N", layer): why for layer, why in groups.left_alone.items() if not why.startswith(GOES_WITH)
        },
    }
    row |= shares(model, groups, trace(model, example).macs) | kinds(model, groups)
    try:
        row["blocks"] = len(find_blocks(model, example))
    except Exception as error:
        row["blocks"] = type(error).__name__
    if not len(groups):
        return row | {"result": "no group"}
    removed, double = {group.name: half(group) for group in groups}, params < LARGE
    row["error"] = equivalence_error(model, example, groups, removed, double=double)
    row["reference"] = reference_error(model, example, groups, removed, double=double)
    worst = max(row["error"], row["reference"])
    return row | {"result": "pass" if worst < (PASS if double else 100 * PASS) else f"differs by {worst:.1e}"}


def shares(model: Any, groups: Any, macs: dict[str, float]) -> dict[str, float]:
    """Return the share of the parameters, and of the multiply-accumulates, that lie in any group."""
    stays: dict[str, dict[int, Any]] = {}
    for group in groups:
        for part in group.slices:
            of_parameter = stays.setdefault(part.parameter, {})
            outside = part.unit < 0
            of_parameter[part.dim] = of_parameter[part.dim] & outside if part.dim in of_parameter else outside
    inside, total, work, all_work = 0.0, 0, 0.0, 0.0
    for name, parameter in model.named_parameters():
        share = 1.0
        for outside in stays.get(name, {}).values():
            share *= outside.float().mean().item()
        inside, total = inside + parameter.numel() * (1 - share), total + parameter.numel()
        work, all_work = work + macs.get(name, 0) * (1 - share), all_work + macs.get(name, 0)
    return {"share_params": inside / total, "share_macs": work / max(all_work, 1)}


def kinds(model: Any, groups: Any) -> dict[str, int]:
    """Return how many heads, key-value groups and other units there are."""
    from autoprune.prune.graph.attention import HEAD_COUNTS

    modules, found = dict(model.named_modules()), {"heads": 0, "kv_groups": 0, "units": 0}
    for group in groups:
        places = {place for layer in group.producers for place in (layer, layer.rpartition(".")[0])} & modules.keys()
        counts = {getattr(modules[place], name, None) for place in places for name in HEAD_COUNTS} - {None}
        widths = {int((unit >= 0).sum()) for unit in group.rows.values()}
        kind = "units"
        if counts and max(widths, default=0) > group.channels:  # of several rows each, in a layer that knows heads
            kind = "heads" if group.channels in counts else "kv_groups" if len(widths) > 1 else "units"
        found[kind] += group.channels
    return found


def text(row: dict[str, Any], column: str) -> str:
    value = row.get(column, "")
    if not isinstance(value, float):
        return str(value)
    if column in ("error", "reference"):
        return f"{value:.0e}"
    return f"{value:.0%}" if column.startswith("share") else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def page(results: dict[str, dict[str, Any]]) -> str:
    """Return docs/zoo.md."""
    parts = [INTRODUCTION]
    for table in zoo_models.TABLES:
        rows = {name.partition(":")[2]: row for name, row in results.items() if name.startswith(f"{table}:")}
        known = len(zoo_models.TABLES[table]())
        passed = [row for row in rows.values() if row["result"] == "pass"]
        wide = sum(row["share_params"] > 0.8 for row in passed)
        parts.append(
            f"## {table}\n\n{len(rows)} of {known} were run, {len(passed)} pass, "
            f"{wide} of these with more than 80 % of their parameters in groups.\n"
        )
        if rows:
            lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
            lines += ["| " + " | ".join(text({"model": n} | row, c) for c in COLUMNS) + " |" for n, row in rows.items()]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


INTRODUCTION = """# Architectures

`make zoo`, that is `python experiments/zoo.py`, wrote this page from `experiments/zoo.json`, which has one row for each
model that was run; a model that is there is not run again. Weights are random and norms randomised, half of every
group goes, and each model runs in a process of its own on one core.

- **of parameters**, **of MACs**: the share that lies in any group: what pruning can reach. The output layer's outputs
  and the stream under a LayerNorm or RMSNorm are in none.
- **heads**, **key-value groups**, **units**: how many can go one by one. **blocks**: those that can be left out whole.
- **proof**: how far the smaller network is from the dense one whose weights are zero there
  (`equivalence_error`), over the largest output, in double precision (single above 150 million parameters).
- **reference**: the same without the package's own proof: the dense network's own code, where hooks set to zero what
  layers give and are given (`experiments/reference.py`).
- **find**: processor seconds of `find_groups`, with its check. **peak**: memory of the process until then.

timm's table has one model of each family: the letters that a name of `timm.list_models()` begins with are its family,
and the model with the fewest parameters stands for it (`python experiments/zoo.py --families`); rows of other models
were asked for by name. The image is the smallest of 64, 96, 128, 224, 256, 384 and 448 pixels that the model takes.
The models of transformers have small configurations, mostly of two layers (`experiments/zoo_models.py`).
"""


if __name__ == "__main__":
    main()
