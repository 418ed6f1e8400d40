"""How far to turn the learning rate down when versions are fine-tuned further from the shared weights.

`python experiments/further.py [TASK]` prints the mean validation and test accuracy over two seeds of three uniform
candidates of 50, 75 and 87.5 % sparsity: on the shared weights, and fine-tuned with parts of the recovery's rate.
"""

import copy
import sys
from dataclasses import replace
from statistics import fmean

import torch

from autoprune import dense, training
from autoprune.candidate import Candidate
from autoprune.task import load_task
from autoprune.trial import run_trial

SPARSITIES = (0.5, 0.75, 0.875)
VARIANTS = ((1.0, "onecycle"), (0.5, "cosine"), (0.25, "cosine"), (0.1, "cosine"))


def main() -> None:
    torch.set_num_threads(1)
    task = load_task(sys.argv[1] if len(sys.argv) > 1 else "digits")
    data = task.data()
    trained = dense.prepare(task, data)
    models = [run_trial(task, Candidate(uniform=s, schedule="shared"), data, trained).model for s in SPARSITIES]
    show("shared", [[(training.accuracy(m, data.validation), training.accuracy(m, data.test))] for m in models])
    for part, schedule in VARIANTS:
        recipe = replace(task.recovery, learning_rate=task.recovery.learning_rate * part, schedule=schedule)
        found = [[tuned(task, model, data, trained, recipe, seed) for seed in (0, 1)] for model in models]
        show(f"{part} x rate, {schedule}", found)


def tuned(task, model, data, trained, recipe, seed) -> tuple[float, float]:
    model = copy.deepcopy(model)
    training.train(task, model, data.train, recipe, seed, trained.model)
    return training.accuracy(model, data.validation), training.accuracy(model, data.test)


def show(name: str, found: list[list[tuple[float, float]]]) -> None:
    means = [[fmean(values) for values in zip(*each, strict=True)] for each in found]
    words = [f"{sparsity:.1%}: {mean[0]:.4f} / {mean[1]:.4f}" for sparsity, mean in zip(SPARSITIES, means, strict=True)]
    print(f"{name:<22}", "   ".join(words), flush=True)


if __name__ == "__main__":
    main()
