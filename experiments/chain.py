"""What a chain is worth: networks of equal sparsities, each trained alone, on the supernet, or cut from the one before.

Prints for each way the hypervolume of accuracy and log size on the test split, as the benchmark defines it, the CPU
seconds that it took, and the accuracies. Nothing is searched for, and the test split decides nothing.
Run: AUTOPRUNE_DATA=/data python experiments/chain.py experiments/benchmark/tasks.py:vgg [--seed 0]
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent / "benchmark"))

from autoprune.measure import measure
from autoprune.prune import dense as dense_
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import channels_kept
from autoprune.results.pareto import hypervolume
from autoprune.supernet import supernet
from autoprune.task.find import load_task
from autoprune.train import evaluation, loop

SIXTEENTHS = (2, 4, 6, 8, 9.5, 11, 12, 13, 14, 15)
"""Of the channels of each group go, from the largest network to the smallest."""

POINTS, SHARE = 0.2, 100
"""The plane reaches from so much below the dense accuracy, and to a hundredth of the dense size."""


class Comparison:
    """One task, its dense model, and the order in which channels go."""

    def __init__(self, reference: str, seed: int) -> None:
        self.task, self.seed = load_task(reference), seed
        self.data = self.task.splits()
        self.dense = dense_.load_or_train(self.task, self.data)
        self.groups = self.dense.groups
        self.order = supernet.order(self.task, self.data, self.dense.model, self.groups, "l1_norm", seed)
        self.top = evaluation.quality(self.task, self.dense.model, self.data.test)

    def gone(self, level: float) -> dict[str, list[int]]:
        """Return the channels that each group loses."""
        return {
            g.name: sorted(self.order[g.name][: g.channels - channels_kept(g.channels, level / 16)])
            for g in self.groups
        }

    def train(self, model: nn.Module, recoveries: float, rate: float, number: int) -> None:
        """Train in place, with batches of its own for each network."""
        recipe = self.task.recovery
        recipe = replace(recipe, steps=round(recoveries * recipe.steps), learning_rate=rate * recipe.learning_rate)
        loop.train(self.task, model, self.data.train, recipe, self.seed + 1000 * number, self.dense.model)

    def alone(self, start: nn.Module, recoveries: float, rate: float = 1.0):
        """Yield each network, cut from ``start``."""
        for number, level in enumerate(SIXTEENTHS):
            model = remove_channels(copy.deepcopy(start), self.task.example, self.groups, self.gone(level))
            if recoveries:
                self.train(model, recoveries, rate, number)
            else:
                supernet.recalibrate(self.task, model, self.data, self.seed)
            yield model

    def chain(self, start: nn.Module, recoveries: float):
        """Yield each network, cut from the one before."""
        model, groups = copy.deepcopy(start), self.groups
        left = {group.name: list(range(group.channels)) for group in groups}
        for number, level in enumerate(SIXTEENTHS):
            lost = {name: set(channels) for name, channels in self.gone(level).items()}
            now = {name: [i for i, c in enumerate(channels) if c in lost[name]] for name, channels in left.items()}
            model, groups = remove_channels(model, self.task.example, groups, now), groups.after(now)
            left = {name: [c for c in channels if c not in lost[name]] for name, channels in left.items()}
            self.train(model, recoveries, 1.0, number)
            yield model

    def show(self, name: str, networks, seconds: float = 0.0) -> None:
        """Measure networks as they come, the clock stopped meanwhile, and print a line."""
        found, started, dense = [], time.process_time(), self.dense.measures
        for model in networks:
            seconds += time.process_time() - started
            macs = measure.measure(model, self.task.example)["macs"]
            found.append((macs, evaluation.quality(self.task, model, self.data.test)))
            started = time.process_time()
        # the share of the plane: cost from 0 at a hundredth of the dense size to 1 at the dense size
        plane = [
            (max(0.0, 1 - math.log(dense["macs"] / macs) / math.log(SHARE)), (q - self.top + POINTS) / POINTS)
            for macs, q in found
        ]
        volume = hypervolume(plane)
        each = " ".join(f"{macs / dense['macs']:.3f}:{100 * q:.1f}" for macs, q in found)
        print(f"{name:45} {volume:.3f}  {seconds:4.0f} s  {each}", flush=True)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="such as experiments/benchmark/tasks.py:vgg")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    it = Comparison(options.task, options.seed)
    print(f"dense: {it.top:.2%} on the test split, {it.dense.measures['macs']:,} MACs", flush=True)
    for recoveries in (1, 2, 3):
        it.show(f"chain, {recoveries} a link", it.chain(it.dense.model, recoveries))
    it.show("alone, 6 recoveries", it.alone(it.dense.model, 6))
    started = time.process_time()
    shared = supernet.load_or_train(it.task, it.data, it.dense, it.groups, "l1_norm", it.seed)
    prepared = time.process_time() - started
    it.show("supernet, not trained", it.alone(shared, 0), prepared)
    for recoveries in (1, 3):
        it.show(f"supernet, {recoveries}", it.alone(shared, recoveries, rate=0.5), prepared)
    for recoveries in (1, 2):
        it.show(f"chain from the supernet, {recoveries} a link", it.chain(shared, recoveries), prepared)


if __name__ == "__main__":
    main()
