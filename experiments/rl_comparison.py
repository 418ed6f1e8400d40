"""One RL agent for the whole front against AMC's one agent for one target.

`python experiments/rl_comparison.py [--episodes 60] [--seeds 3]` prints how far each way comes from its own random
policy (0) to the best of all candidates (1), on layers whose optimum is known: by the agent's walk without noise, and
by its best episode. With `--digits` it prints accuracies on the digits task, each candidate judged on the supernet.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.search import AmcTuner, loop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "search"))
from layers import Layers  # noqa: E402

TARGETS = {False: (0.2, 0.3, 0.5), True: (0.1, 0.25, 0.5)}
"""Fractions of the MACs, for the layers and for digits."""


class Digits:
    """The digits task, its candidates judged on the supernet's weights without further training."""

    def __init__(self) -> None:
        import torch

        from autoprune.prune import dense
        from autoprune.results.candidate import Candidate
        from autoprune.search.space import build_space
        from autoprune.task import load_task
        from autoprune.trial.preparation import prepare_search

        torch.set_num_threads(1)
        self._task = load_task("digits")
        self._data = self._task.data()
        self._dense = dense.load_or_train(self._task, self._data)
        self.prepared = prepare_search(self._task, self._data, self._dense, Candidate(schedule="supernet"))
        self.space = build_space(self._dense.groups, criteria=("l1_norm",), schedules=("supernet",))
        self._judged: dict[str, dict[str, float]] = {}

    def judge(self, parameters: Mapping[str, Any]) -> dict[str, float]:
        from autoprune.results.candidate import Candidate
        from autoprune.trial.run import run_trial

        key = json.dumps(parameters, sort_keys=True)
        if key not in self._judged:
            candidate = Candidate.from_parameters(parameters)
            self._judged[key] = dict(run_trial(self._task, candidate, self._data, self._dense).measures)
        return self._judged[key]

    def fraction(self, parameters: dict[str, Any]) -> float:
        sparsity = {k.removeprefix("sparsity."): v for k, v in parameters.items() if k.startswith("sparsity.")}
        return self.prepared.sizes.sizes(sparsity)["macs"] / self.prepared.sizes.sizes({})["macs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=60, help="of each way, in all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--digits", action="store_true")
    options = parser.parse_args()
    targets = TARGETS[options.digits]
    n, each = options.episodes, options.episodes // len(targets)
    digits = Digits() if options.digits else None
    problems = [digits or Layers(seed) for seed in range(options.seeds)]
    bounds = [
        [(0.0, 1.0) if digits else (random_policy(problem, target), problem.optimum(target)) for target in targets]
        for problem in problems
    ]
    ways = {
        f"whole front, {n} episodes": (n, None, {}),
        f"whole front, {n}, all of them random": (n, None, {"warmup": n}),
        f"whole front, {n}, reward at the end": (n, None, {"shaping": False}),
        f"a target each, {each} episodes": (each, targets, {}),
        f"a target each, {each}, reward at the end": (each, targets, {"shaping": False}),
    }
    print(f"{'mean over the seeds, at the targets':44}{'noise-free walk':>24}{'best episode':>24}")
    print(f"{'':44}" + "".join(f"{t:8.0%}" for t in (*targets, *targets)))
    for name, (episodes, goals, arguments) in ways.items():
        rows = []
        for seed, problem in enumerate(problems):
            tuners = trained(problem, seed, episodes, goals, arguments)
            pairs = [score(problem, tuner, target) for tuner, target in zip(tuners, targets, strict=False)]
            low, high = np.array(bounds[seed]).T
            rows.append((np.array(pairs).T - low) / (high - low))
        mean = np.mean(rows, axis=0).reshape(-1)
        print(f"{name:44}" + "".join(f"{figure:8.{3 if digits else 2}f}" for figure in mean), flush=True)


def trained(
    problem: Layers | Digits, seed: int, episodes: int, targets: tuple[float, ...] | None, arguments: dict[str, Any]
) -> Iterator[AmcTuner]:
    """Yield a tuner for each of the targets; the same one again and again if it is for the whole front."""
    for target in targets or (None,):
        with tempfile.TemporaryDirectory() as folder:
            tuner = AmcTuner(target, seed=seed, storage=folder, **{"warmup": min(15, episodes // 2), **arguments})
            tuner.update_search_space(problem.space)
            tuner.prepare([problem.prepared])
            loop.search(tuner, problem.judge, range(episodes))
        yield tuner
    while targets is None:
        yield tuner


def score(problem: Layers | Digits, tuner: AmcTuner, target: float) -> tuple[float, float]:
    """Return the accuracy of the agent's walk without noise, and of its best episode within the target."""
    found = [e.quality for e in tuner.episodes if problem.fraction(e.parameters) <= target]
    walk = problem.judge(tuner.propose(target))["accuracy"]
    return walk, max(found, default=walk)


def random_policy(problem: Layers, target: float) -> float:
    """Return the mean accuracy of random walks to a target."""
    with tempfile.TemporaryDirectory() as folder:
        tuner = AmcTuner(storage=folder)
        tuner.update_search_space(problem.space)
        tuner.prepare([problem.prepared])
        return float(np.mean([problem.judge(tuner.propose_random(target, i))["accuracy"] for i in range(40)]))


if __name__ == "__main__":
    main()
