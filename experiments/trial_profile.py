"""Where the time of one trial goes, once its process is up: training, evaluation, and everything else.

python experiments/trial_profile.py [TASK] [--criterion l1_norm] [--lines 12]
"""

import argparse
import cProfile
import pstats
import time

import torch

from autoprune import Candidate, run_trial
from autoprune.prune import dense
from autoprune.task.find import load_task
from autoprune.train import evaluation, loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", default="digits")
    parser.add_argument("--criterion", default="l1_norm")
    parser.add_argument("--lines", type=int, default=12, help="of the profile of all but training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    data = task.data()
    model = dense.load_or_train(task, data)
    candidate = Candidate(uniform=0.5, criterion=options.criterion)
    run_trial(task, candidate, data, model)  # the first trial imports what the warm process has imported

    spent = {"training": 0.0, "evaluation": 0.0}
    profile = cProfile.Profile()

    def timed(name, function):
        def call(*arguments, **named):
            profile.disable()
            start = time.perf_counter()
            result = function(*arguments, **named)
            spent[name] += time.perf_counter() - start
            profile.enable()
            return result

        return call

    loop.train = timed("training", loop.train)
    evaluation.quality = timed("evaluation", evaluation.quality)
    start = time.perf_counter()
    profile.enable()
    run_trial(task, candidate, data, model)
    profile.disable()
    total = time.perf_counter() - start
    for name, seconds in {**spent, "everything else": total - sum(spent.values())}.items():
        print(f"{name:<16} {seconds:7.3f} s")
    pstats.Stats(profile).sort_stats("cumulative").print_stats(r"autoprune|nni|flop_counter", options.lines)


if __name__ == "__main__":
    main()
