"""How the supernet's training is trained best: its learning rate, and the labels' share of the loss.

`python experiments/supernet_recipe.py [TASK] [--steps 300] [--rates 1,3,6] [--labels 0.3]` trains it with multiples of
the recovery rate, and prints the mean validation accuracy of twelve random versions, and that of the whole network.
"""

import argparse
import random
import time
from dataclasses import replace
from itertools import product
from statistics import fmean

import torch

from autoprune.prune import dense
from autoprune.supernet import supernet
from autoprune.supernet.subnets import Subnets
from autoprune.task.find import load_task
from autoprune.train import evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="digits")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rates", type=_numbers, default=[1.0, 3.0, 6.0])
    parser.add_argument("--labels", type=_numbers, default=[supernet.LABELS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    data = task.data()
    trained = dense.load_or_train(task, data)
    subnets = Subnets.ordered_by("l1_norm", trained.model, trained.groups)
    for rate, labels in product(options.rates, options.labels):
        supernet.LABELS = labels
        recipe = replace(task.recovery, steps=options.steps, learning_rate=rate * task.recovery.learning_rate)
        started = time.process_time()
        model = supernet.train_supernet(task, data, trained.model, subnets, recipe)
        seconds, rng, accuracies = time.process_time() - started, random.Random(7), []
        for _ in range(12):
            subnet = subnets.build(model, subnets.random(rng))
            supernet.recalibrate(task, subnet, data)
            accuracies.append(evaluation.quality(task, subnet, data.validation))
        what = f"{rate:g} x rate, labels {labels:g}"
        whole = evaluation.quality(task, model, data.validation)
        print(f"{what}: versions {fmean(accuracies):.4f}, whole {whole:.4f}, {seconds:.0f} CPU s", flush=True)


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
