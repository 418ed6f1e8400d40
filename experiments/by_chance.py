"""What chance is worth: the controls `random` and `random_weights` beside l1_norm and level, and `set` and `rigl`.

Prints the validation accuracy of the digits task, mean and standard deviation over the seeds.
Run: python experiments/by_chance.py [SEEDS]
"""

import argparse
from statistics import fmean, stdev

import torch

from autoprune.prune import dense
from autoprune.results.candidate import Candidate
from autoprune.task.find import load_task
from autoprune.trial.run import run_trial

WAYS = (
    ("l1_norm", "one_shot", 0.75),
    ("random", "one_shot", 0.75),
    ("level", "one_shot", 0.95),
    ("random_weights", "one_shot", 0.95),
    ("random_weights", "from_scratch", 0.95),
    ("random_weights", "set", 0.95),
    ("random_weights", "rigl", 0.95),
)
"""Criterion, schedule, and the fraction of channels or weights that go."""


def main(seeds: int) -> None:
    """Try each way with each seed."""
    torch.set_num_threads(1)
    task = load_task("digits")
    data = task.data()
    trained = [dense.load_or_train(task, data, seed=seed) for seed in range(seeds)]
    show("dense", "", 0.0, [each.measures["accuracy"] for each in trained])
    for criterion, schedule, sparsity in WAYS:
        candidate = Candidate(uniform=sparsity, criterion=criterion, schedule=schedule)
        results = [run_trial(task, candidate, data, each, seed) for seed, each in enumerate(trained)]
        show(criterion, schedule, sparsity, [result.measures["accuracy"] for result in results])


def show(criterion: str, schedule: str, sparsity: float, accuracies: list[float]) -> None:
    """Print one line: percent, mean and standard deviation, and each seed's."""
    mean, spread = 100 * fmean(accuracies), 100 * stdev(accuracies)
    each = " ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
    print(f"{criterion:<15} {schedule:<13} {sparsity:.0%}  {mean:.2f} ± {spread:.2f}  ({each})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    main(parser.parse_args().seeds)
