"""At what learning rate the shared recovery is trained best.

`python experiments/shared_rate.py [TASK] [--steps 300]` trains it with multiples of the recovery rate, and prints
the mean validation accuracy of twelve random versions, and that of the whole network.
"""

import argparse
import random
import time
from dataclasses import replace
from statistics import fmean

import torch

from autoprune import dense, shared, training
from autoprune.task import load_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", default="digits")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    data = task.data()
    trained = dense.prepare(task, data)
    versions = shared.Versions.ordered_by("l1_norm", trained.model, trained.groups)
    for factor in (0.5, 1, 3, 6):
        recipe = replace(task.recovery, steps=options.steps, learning_rate=factor * task.recovery.learning_rate)
        started = time.process_time()
        model = shared.train_shared(task, data, trained.model, versions, recipe)
        seconds, chance, accuracies = time.process_time() - started, random.Random(7), []
        for _ in range(12):
            version = versions.build(model, versions.random(chance))
            shared.adapt(task, version, data)
            accuracies.append(training.accuracy(version, data.validation))
        whole = training.accuracy(model, data.validation)
        print(f"{factor} x rate: versions {fmean(accuracies):.4f}, whole {whole:.4f}, {seconds:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
