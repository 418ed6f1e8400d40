"""The methods that are compared; each spends a run's budget in its own way until the time is up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from typing import Any

from bench import Bench, Judged
from nni.algorithms.hpo.tpe_tuner import TpeTuner

from autoprune.nni.tuners import NniTuner
from autoprune.prune.size_model import size_model
from autoprune.results import baselines
from autoprune.results.candidate import Candidate
from autoprune.results.prepared import Prepared
from autoprune.search import (
    OptunaTuner,  # noqa: F401  (slow to import: before any run's clock starts)
    loop,
)
from autoprune.search.space import build_space
from autoprune.search.tuners.amc.tuner import AmcTuner
from autoprune.search.tuners.base import Tuner
from autoprune.supernet import supernet
from autoprune.trial.preparation import prepare_search
from autoprune.trial.record import default_metric

CRITERION = "l1_norm"
SIZE_WEIGHT = 0.07
"""The default of the trial command: exponent of the size in the scalar that NNI's recipe maximises."""

CHAIN = (2, 4, 6, 8, 10, 12, 13, 14, 15)
"""Sixteenths of the channels that go along a chain, from large to small."""

AMC_TARGETS, AMC_TUNING = (0.5, 0.25, 0.1), 0.25
"""The sizes that AMC's agents aim at, as shares of the dense MACs, and the share of their time for fine-tuning."""


def nni_recipe(bench: Bench, recoveries: float = 1) -> None:
    """NNI's own TPE tuner on one number, every candidate fine-tuned in full."""
    tuner = NniTuner(TpeTuner(optimize_mode="maximize", seed=bench.seed))
    _drive(bench, tuner, "one_shot", recoveries=recoveries)


def random(bench: Bench) -> None:
    """Candidates drawn by chance, every one fine-tuned in full."""
    _optuna(bench, "random")


def nsga2(bench: Bench) -> None:
    """Optuna's NSGA-II on accuracy and MACs, every candidate fine-tuned in full."""
    _optuna(bench, "nsga2")


def tpe(bench: Bench, recoveries: float = 1) -> None:
    """Optuna's multi-objective TPE on accuracy and MACs, every candidate fine-tuned in full."""
    _optuna(bench, "tpe", recoveries)


def amc(bench: Bench) -> None:
    """AMC's mode: an agent for each of three sizes in turn, which walks untrained; then its best are fine-tuned."""
    sizes = size_model(bench.dense.model, bench.task.example_input, bench.dense.groups)
    prepared = Prepared(bench.dense.measures, sizes, sensitivity={}, criterion=CRITERION)
    share = bench.budget / len(AMC_TARGETS)
    for number, target in enumerate(AMC_TARGETS):
        end = (number + 1) * share
        folder = bench.folder / f"amc {target}"
        folder.mkdir()
        tuner = AmcTuner(target=target, shaping=False, seed=bench.seed, storage=str(folder))
        walked = _drive(bench, tuner, "one_shot", prepared, until=end - AMC_TUNING * share, train=False)
        bench.note(f"walked to {target}")
        for judged in sorted(walked, key=lambda each: -each.measures["accuracy"]):
            if bench.spent > end:
                break
            parameters = {name: value for name, value in judged.parameters.items() if name != "trained"}
            bench.judge(Candidate.from_parameters(parameters))


def uniform(bench: Bench, recoveries: float = 1) -> None:
    """One sparsity for all groups, on a grid, each fine-tuned in full; then the grid again with other seeds."""
    for repeat in count():
        for candidate in _uniform_grid(bench, "one_shot"):
            bench.judge(replace(candidate, budget=recoveries), repeat)


def chain(bench: Bench, recoveries: float) -> None:
    """The same grid from large to small, each cut from the one before; then again with other seeds, from the dense."""
    grid = sorted(_uniform_grid(bench, "one_shot"), key=lambda candidate: candidate.uniform)
    for repeat in count():
        parent = None
        for candidate in grid:
            if candidate.uniform * 16 in CHAIN:
                link = replace(candidate, budget=recoveries, parent=parent)
                parent = link.id if bench.judge(link, repeat) else parent


def uniform_shared(bench: Bench) -> None:
    """The same grid on the supernet; then each fine-tuned in full from there, again and again."""
    supernet.load_or_train(bench.task, bench.data, bench.dense, bench.dense.groups, CRITERION, bench.seed)
    bench.note("supernet")
    for candidate in _uniform_grid(bench, "supernet"):
        bench.judge(candidate)
    bench.note("grid")
    for repeat in count():
        for candidate in _uniform_grid(bench, "supernet"):
            bench.judge(replace(candidate, budget=1.0), repeat)


def autoprune(bench: Bench) -> None:
    """AutoPrune's default: the baselines, the supernet, sensitivity probe, first candidates, then TPE with rungs."""
    for parameters in baselines.for_command("autoprune trial TASK"):
        if parameters["baseline"] == "l1_filter":  # lottery tickets save no MACs
            bench.judge(Candidate.from_parameters(parameters))
    bench.note("baselines")
    prepared = prepare_search(
        bench.task, bench.data, bench.dense, Candidate(criterion=CRITERION, schedule="supernet"), bench.seed
    )
    bench.note("preparation")
    tuner = OptunaTuner(seed=bench.seed, storage=str(bench.folder / "optuna.journal"))
    _drive(bench, tuner, "supernet", prepared)


RIVALS: dict[str, Callable[[Bench], None]] = {
    f"{method.__name__}_{recoveries}": partial(method, recoveries=recoveries)
    for method, lengths in ((uniform, (3, 6, 12)), (chain, (1, 2, 3, 6)), (tpe, (3, 6)), (nni_recipe, (3, 6)))
    for recoveries in lengths
}
"""Methods that need no supernet, at other lengths of their fine-tuning: how many recoveries stands at the end."""

METHODS: dict[str, Callable[[Bench], None]] = {
    method.__name__: method for method in (nni_recipe, random, nsga2, tpe, amc, uniform, uniform_shared, autoprune)
}
"""Name on the command line -> what spends the budget."""

LABELS: dict[str, str] = {
    "nni_recipe": "NNI's recipe",
    "random": "random search",
    "nsga2": "NSGA-II",
    "tpe": "TPE",
    "amc": "AMC",
    "uniform": "uniform",
    "uniform_shared": "uniform, supernet",
    "autoprune": "AutoPrune",
}
LABELS |= {
    f"{name}_{length}": f"{LABELS.get(name, 'uniform chain')}, {length} recoveries"
    for name, length in (key.rsplit("_", 1) for key in RIVALS)
}
"""What tables and plots call them, in their order."""


def _optuna(bench: Bench, sampler: str, recoveries: float = 1) -> None:
    storage = str(bench.folder / "optuna.journal")
    tuner = OptunaTuner(sampler=sampler, seed=bench.seed, storage=storage, rungs=False)
    _drive(bench, tuner, "one_shot", recoveries=recoveries)


def _drive(
    bench: Bench,
    tuner: Tuner,
    schedule: str,
    prepared: Prepared | None = None,
    until: float = math.inf,
    train: bool = True,
    recoveries: float | None = None,
) -> list[Judged]:
    """Judge what a tuner proposes, in this process, without NNI's manager; return the networks.

    Args:
        prepared: what the tuner may know beforehand, if anything.
        until: seconds from the start of the run; the budget's end ends it too.
        train: whether candidates are fine-tuned.
        recoveries: how long, where the tuner does not say so.
    """
    tuner.update_search_space(build_space(bench.dense.groups, criteria=[CRITERION], schedules=[schedule]))
    if prepared is not None:
        tuner.prepare([prepared])
    found: list[Judged] = []

    def run(parameters: Mapping[str, Any]) -> dict[str, float] | None:
        candidate = Candidate.from_parameters(parameters)
        judged = bench.judge(
            replace(candidate, budget=candidate.budget if recoveries is None else recoveries), train=train
        )
        if judged is None:
            return None
        found.append(judged)
        return _metrics(bench, judged)

    loop.search(tuner, run, takewhile(lambda _number: bench.spent <= until, count()))
    return found


def _metrics(bench: Bench, judged: Judged) -> dict[str, float]:
    return default_metric(judged.measures, bench.dense.measures, SIZE_WEIGHT) | judged.measures


def _uniform_grid(bench: Bench, schedule: str) -> Iterator[Candidate]:
    """Yield equal sparsities from 1/16 to 15/16, by halving, those that keep the same channels once."""
    sizes = size_model(bench.dense.model, bench.task.example_input, bench.dense.groups)
    names = [group.name for group in bench.dense.groups]
    seen = set()
    for sixteenths in (8, 12, 4, 14, 10, 6, 2, 15, 13, 11, 9, 7, 5, 3, 1):
        sparsity = sixteenths / 16
        kept = tuple(sizes.kept(dict.fromkeys(names, sparsity)).values())
        if kept not in seen:
            seen.add(kept)
            yield Candidate(uniform=sparsity, criterion=CRITERION, schedule=schedule)
