"""Run the benchmark: each method on each task with each seed, for the same time. Stop it and start it as you like.

python experiments/benchmark/run.py [--tasks vgg,resnet] [--methods autoprune,...] [--seeds 0,1,2,3,4] [--budget 100]

A run that the table of results has is not run again. Afterwards: python experiments/benchmark/analyse.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import contextlib
import logging
import math
import multiprocessing
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import results
import torch
from bench import Bench, TimeIsUp
from methods import METHODS, RIVALS
from tasks import TASKS

from autoprune.base.machine import describe, versions
from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.prune.dense import Dense
from autoprune.results.candidate import Candidate
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation

HERE = Path(__file__).parent
CACHE = HERE / "cache"
KNOWN = METHODS | RIVALS
BUDGET = 100
"""NNI's TPE draws its first 20 candidates by chance, and one costs three seconds here: a minute would be no search."""


@dataclass(frozen=True)
class Run:
    """One method on one task with one seed."""

    task: str
    method: str
    seed: int
    budget: float

    def __str__(self) -> str:
        return f"{self.task}-{self.method}-{self.seed}"


LOADED: dict[str, tuple[Task, Splits, Dense]] = {}
"""Task, data and dense model by the task's name: forked processes inherit them."""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    torch.set_num_threads(1)
    logging.getLogger("nni").setLevel(logging.WARNING)
    # Seed by seed: the methods take turns, so that what the machine does meanwhile hits all of them alike.
    runs = [
        Run(task, method, seed, options.budget)
        for seed in options.seeds
        for task in options.tasks
        for method in options.methods
    ]
    done = {results.key(record) for record in results.read(options.results)}
    left = [run for run in runs if astuple(run) not in done]
    print(f"{len(runs)} runs of {options.budget:g} s each, {len(left)} left", flush=True)
    if not left:
        return 0
    os.environ["AUTOPRUNE_CACHE"] = str(options.cache.resolve())
    load(sorted({run.task for run in left}))
    failed = 0
    # A process for each run: none finds what another one left in memory.
    with multiprocessing.get_context("fork").Pool(options.processes, maxtasksperchild=1) as pool:
        for carried_out, line in pool.imap_unordered(partial(_try, table=options.results), left):
            print(line, flush=True)
            failed += not carried_out
    return 1 if failed else 0


def load(names: list[str]) -> None:
    """Load tasks, their data and dense models; these are trained now, in another process, if the cache has none."""
    for name in names:
        task = TASKS[name]
        print(f"{name}: the dense model, from the cache or trained now", flush=True)
        trainer = multiprocessing.get_context("fork").Process(target=_train_dense, args=(task,))
        trainer.start()
        trainer.join()
        data = task.data()
        LOADED[name] = task, data, dense.load_or_train(task, data)
        # Imports and the like are done before the first clock starts: every run forks from here.
        Bench(*LOADED[name], 0, math.inf, Path()).judge(Candidate(uniform=0.5), train=False)


def execute(run: Run, table: Path) -> str:
    """Carry one run out and put its record into the table; return a line about it."""
    task, data, model = LOADED[run.task]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(task, data, model, run.seed, run.budget, Path(folder))
        bench.start()
        with contextlib.suppress(TimeIsUp):
            (METHODS | RIVALS)[run.method](bench)
        results.add(_record(run, bench), table)
    return f"{run}: {len(bench.judged)} networks judged, {len(bench.failures)} failed"


def _try(run: Run, table: Path) -> tuple[bool, str]:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="a sparsity of .* would empty group")
    try:
        return True, execute(run, table)
    except Exception:
        return False, f"{run} FAILED\n{traceback.format_exc()}"


def _train_dense(task: Task) -> None:
    torch.set_num_threads(1)
    dense.load_or_train(task, task.data())


def _record(run: Run, bench: Bench) -> dict[str, Any]:
    """Return all that is kept of a run; its fronts are measured on the test split, once, after the time."""
    front = {id(each): evaluation.quality(bench.task, each.model, bench.data.test) for each in bench.front()}
    trials = []
    for each in bench.judged:
        measures = {name: each.measures[name] for name in ("accuracy", "params", "macs")}
        test = {"test": front[id(each)]} if id(each) in front else {}
        trials.append({"time": each.time, **measures, **test, "parameters": each.parameters})
    model = bench.dense
    return asdict(run) | {
        "dense": {name: model.measures[name] for name in ("accuracy", "params", "macs")}
        | {"test": evaluation.quality(bench.task, model.model, bench.data.test)},
        "recovery": asdict(bench.task.recovery),
        "notes": bench.notes,
        "failures": bench.failures,
        "trials": trials,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "machine": describe(),
        "versions": versions(),
    }


def _revision() -> str:
    """Return the git revision of the code, with a + if files other than the table have changed since."""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)

    revision = git("rev-parse", "--short=12", "HEAD").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", ":/", f":(exclude){results.FILE.name}").returncode
    return f"{revision}+" if revision and changed else revision or "unknown"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=_names(TASKS), default=list(TASKS), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--methods", type=_names(KNOWN), default=list(METHODS), help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=list(range(5)))
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"CPU seconds of a run ({BUDGET})")
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time (2)")
    parser.add_argument("--results", type=Path, default=results.FILE, help="the table of results")
    parser.add_argument("--cache", type=Path, default=CACHE, help="of dense models and converted data")
    return parser.parse_args(arguments)


def _names(known: Mapping[str, Any]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        wrong = [name for name in text.split(",") if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: use {', '.join(known)}")
        return text.split(",")

    return names


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
