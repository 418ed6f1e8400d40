"""Search a task's fine-tuning recipe once: its result stands in tasks.py, and every method uses it.

python experiments/benchmark/tune_recipe.py TASK [--trials 40]

Optuna's TPE over learning rate, distillation weight and temperature; a recipe is worth the mean validation accuracy of
the same candidates, one uniform and two drawn by chance.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import random
from dataclasses import replace

import optuna
import torch
from methods import CRITERION
from run import CACHE
from tasks import TASKS

from autoprune.errors import TrialFailure
from autoprune.prune import dense
from autoprune.results.candidate import Candidate
from autoprune.trial.run import run_trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["AUTOPRUNE_CACHE"] = str(CACHE)
    task = TASKS[options.task]
    data = task.data()
    model = dense.load_or_train(task, data)
    rng = random.Random(0)
    candidates = [Candidate(uniform=0.75, criterion=CRITERION)] + [
        Candidate(sparsity={g.name: rng.randrange(4, 15) / 16 for g in model.groups}, criterion=CRITERION)
        for _ in range(2)
    ]

    def value(trial: optuna.Trial) -> float:
        recipe = replace(
            task.recovery,
            learning_rate=trial.suggest_float("learning_rate", 0.003, 0.3, log=True),
            distillation=trial.suggest_float("distillation", 0, 1, step=0.1),
            temperature=trial.suggest_categorical("temperature", [1.0, 2.0, 4.0, 8.0]),
        )
        tried = replace(task, recovery=recipe)
        try:
            found = [run_trial(tried, each, data, model).measures["accuracy"] for each in candidates]
        except TrialFailure:
            return 0.0
        print(f"{sum(found) / len(found):.4f}  {trial.params}", flush=True)
        return sum(found) / len(found)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial(
        {name: getattr(task.recovery, name) for name in ("learning_rate", "distillation", "temperature")}
    )
    study.optimize(value, n_trials=options.trials)
    print(f"best: {study.best_value:.4f}  {study.best_params}")


if __name__ == "__main__":
    main()
