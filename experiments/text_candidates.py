"""What the supernet's training tells of four candidates of the task imdb, beside fine-tuning them further and alone.

`python experiments/text_candidates.py` prints, for each, the MACs left, the accuracies on the validation and on the
test split, and the CPU seconds of one thread (docs/text.md).
"""

import argparse
import time

import torch

from autoprune.prune import dense
from autoprune.prune.blocks import find_blocks
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.task.find import load_task
from autoprune.train import evaluation
from autoprune.trial.run import run_trial

CANDIDATES = ((0.25, (3,)), (0.5, ()), (0.5, (2, 4)), (0.75, ()))
"""Sparsity of every group, and the layers that go."""

WAYS = (("shared", "supernet", 0.0), ("further", "supernet", 1.0), ("alone", "one_shot", None))
"""What is compared: name, schedule, budget."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    task = load_task("imdb")
    data = task.data()
    trained = dense.load_or_train(task, data)
    layers = tuple(find_blocks(trained.model, task.example_input, task.keep))
    supernet.load_or_train(task, data, trained, trained.groups, "l1_norm", blocks=layers)  # nobody's seconds
    for sparsity, gone in CANDIDATES:
        dropped = {layer.name: int(number in gone) for number, layer in enumerate(layers)}
        for name, schedule, budget in WAYS:
            started = time.process_time()
            candidate = Candidate(uniform=sparsity, blocks=dropped, schedule=schedule, budget=budget)
            result = run_trial(task, candidate, data, trained)
            seconds, left = time.process_time() - started, result.measures["macs"] / trained.measures["macs"]
            found = f"{result.measures['accuracy']:.4f} / {evaluation.quality(task, result.model, data.test):.4f}"
            print(
                f"{sparsity:.0%} gone, layers {gone or 'none'}: {left:.1%} MACs, {name:<7} {found}, {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
