"""Where versions are fine-tuned further from, and how fast: from the supernet's weights, the dense ones, or between.

`python experiments/further.py [TASK]` prints the mean validation and test accuracy over two seeds of uniform
candidates: cut from weights that lie so far from the dense ones to the shared ones, as they are and fine-tuned with
parts of the recovery's rate. For the benchmark's: AUTOPRUNE_DATA=/data, experiments/benchmark/tasks.py:resnet
"""

import argparse
import copy
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean

import torch

from autoprune.prune import dense
from autoprune.prune.criteria import channels_to_remove
from autoprune.prune.removal import remove_channels
from autoprune.results.candidate import channels_kept
from autoprune.supernet import supernet
from autoprune.task.find import load_task
from autoprune.train import evaluation, loop

SPARSITIES = (0.125, 0.25, 0.5, 0.75, 0.875)
STARTS = (1.0, 0.5, 0.0)
RATES = ((1.0, "onecycle"), (0.5, "cosine"), (0.25, "cosine"), (0.1, "cosine"))
SEEDS = (0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="digits")
    torch.set_num_threads(1)
    task = load_task(parser.parse_args().task)
    data = task.data()
    trained = dense.load_or_train(task, data)
    weights = supernet.load_or_train(task, data, trained, trained.groups, "l1_norm")
    show("part of the way, rate", [f"{sparsity:.1%} gone" for sparsity in SPARSITIES])
    for start in STARTS:
        interpolate = supernet.interpolate(trained.model, weights, start)
        cuts = [cut(task, trained, interpolate, sparsity) for sparsity in SPARSITIES]
        show(f"{start:g}, as it is", (score(task, [each], data) for each in as_they_are(task, data, cuts)))
        for part, schedule in RATES:
            recipe = replace(task.recovery, learning_rate=task.recovery.learning_rate * part, schedule=schedule)
            tuned = ([fine_tuned(task, data, trained, each, recipe, seed) for seed in SEEDS] for each in cuts)
            show(f"{start:g}, {part:g} {schedule}", (score(task, models, data) for models in tuned))


def cut(task, trained, model, sparsity) -> torch.nn.Module:
    gone = {g.name: g.channels - channels_kept(g.channels, sparsity, 8) for g in trained.groups}
    gone = channels_to_remove(trained.model, trained.groups, "l1_norm", gone)
    return remove_channels(model, task.example_input, trained.groups, gone)


def as_they_are(task, data, models) -> Iterator[torch.nn.Module]:
    for model in map(copy.deepcopy, models):
        supernet.recalibrate(task, model, data)
        yield model


def fine_tuned(task, data, trained, model, recipe, seed) -> torch.nn.Module:
    model = copy.deepcopy(model)
    loop.train(task, model, data.train, recipe, seed, trained.model)
    return model


def score(task, models, data) -> str:
    splits = (data.validation, data.test)
    return " / ".join(f"{fmean(evaluation.quality(task, model, split) for model in models):.2%}" for split in splits)


def show(name: str, columns) -> None:
    print(f"{name:<22}", *(f"{column:<17}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
