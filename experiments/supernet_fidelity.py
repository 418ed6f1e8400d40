"""What the supernet's training tells about candidates, beside fine-tuning each of them alone.

`python experiments/supernet_fidelity.py [TASK] [--candidates 8]` judges random candidates on the supernet, and
fine-tunes each alone by the task's recipe: mean accuracies, seconds, and the rank correlation of the two.
"""

import argparse
import random
import time
from statistics import fmean

import torch
from scipy.stats import spearmanr

from autoprune.prune import dense
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.supernet.subnets import LEVELS
from autoprune.task.find import load_task
from autoprune.trial.run import run_trial

WAYS = (("shared", "supernet", 0.0), ("then tuned", "supernet", 1.0), ("alone", "one_shot", None))
"""What is compared: name, schedule, budget."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", default="digits")
    parser.add_argument("--candidates", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    data = task.data()
    trained = dense.load_or_train(task, data)
    rng = random.Random(0)
    sparsities = [{g.name: rng.choice(LEVELS) for g in trained.groups} for _ in range(options.candidates)]

    started = time.process_time()
    supernet.load_or_train(task, data, trained, trained.groups, "l1_norm")
    print(f"{task.name}: supernet {time.process_time() - started:.1f} s (0 if the cache had it)")
    found = {}
    for name, schedule, budget in WAYS:
        started = time.process_time()
        trials = [
            run_trial(task, Candidate(each, schedule=schedule, budget=budget), data, trained) for each in sparsities
        ]
        seconds = (time.process_time() - started) / len(trials)
        found[name] = [trial.measures["accuracy"] for trial in trials]
        print(
            f"{name:<11} mean validation accuracy {fmean(found[name]):.4f}, {seconds:.2f} s per candidate", flush=True
        )
    for name in ("then tuned", "alone"):
        print(f"rank correlation of shared with {name}: {spearmanr(found['shared'], found[name]).statistic:.2f}")


if __name__ == "__main__":
    main()
