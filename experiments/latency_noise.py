"""How steady is a latency on a disturbed machine? Every other measurement, a process comes and burns a core.

`python experiments/latency_noise.py` prints, for each way to measure, the range and the standard deviation of repeated
measurements of the same network (digits, every second channel gone, batches of 32, PyTorch eager, one thread).
"""

import argparse
import statistics
import subprocess
import sys

import torch

import autoprune
from autoprune.measure import latency
from autoprune.prune.dense import load_or_train
from autoprune.task.find import load_task

REPEATS, RUNS = 20, 50


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    task = load_task("digits")
    data = task.data()
    dense = load_or_train(task, data)
    pruned = autoprune.run_trial(task, autoprune.Candidate(uniform=0.5), data, dense).model
    passes = [latency.make_pass(model, task.example_input, "eager", 32) for model in (dense.model, pruned)]
    found: dict[str, list[float]] = {}
    for repeat in range(REPEATS):
        burner = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**5))"]) if repeat % 2 else None
        (alone,) = latency.time_in_turn(passes[1:], RUNS)
        before, after = latency.time_in_turn(passes, RUNS)
        if burner:
            burner.kill()
            burner.wait()
        for name, value in {
            "time alone, median (ms)": latency.median(alone),
            "speed-up, ratio of medians": latency.median(before) / latency.median(after),
            "speed-up, median of the turns' ratios": latency.median(
                [b / a for b, a in zip(before, after, strict=True)]
            ),
            "speed-up, ratio of the fastest passes": min(before) / min(after),
        }.items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        spread = statistics.stdev(values) / statistics.mean(values)
        print(f"{name:40} {min(values):.2f} to {max(values):.2f}, standard deviation {spread:.1%}")


if __name__ == "__main__":
    main()
