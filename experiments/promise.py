"""How often `drop<=1%` is kept: whole searches on digits, each with a split, a dense network and a seed of its own.

Of the 1,797 digits 500 are for training and so many for validation; the rest tell the truth. Prints, for drops taken as
measured and for each confidence, how often a network was chosen by the rule, how often it drops by 1 point or less on
the rest, and how much smaller it is. `--file` keeps what each search found; run again, it goes on.
Run: python experiments/promise.py [--searches N] [--validation N] [--file FILE]
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch
from scipy.stats import binomtest
from torch.utils.data import TensorDataset

import autoprune
from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.results.fine_tuned import read_fine_tuned
from autoprune.task.models.digits import DigitsNet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task

CONFIDENCES = (0.0, 0.8, 0.9, 0.95)


def main(searches: int, validation: int, file: Path) -> None:
    """Search, and print what the promises were worth so far."""
    torch.set_num_threads(1)
    found = json.loads(file.read_text()) if file.exists() else []
    for seed in range(len(found), searches):
        found.append(one(seed, validation))
        file.write_text(json.dumps(found))
        show(found)


def one(seed: int, validation: int) -> dict[str, dict[str, float] | None]:
    """Return, by confidence, what is chosen: its drop on the rest and how much smaller it is; None if nothing is."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    train, held, rest = (TensorDataset(x[part], y[part]) for part in order.split([500, validation, 1297 - validation]))
    task = Task(
        f"promise-{seed}",
        DigitsNet,
        example=x[:1],
        train=train,
        validation=held,
        test=rest,
        training=Recipe(steps=300, learning_rate=0.03),
        recovery=Recipe(steps=100, learning_rate=0.02, distillation=0.9),
    )
    with TemporaryDirectory() as folder:
        result = autoprune.run_search(task, trials=12, baselines=False, seed=seed, folder=Path(folder) / "search")
        final = result.export("knee", Path(folder) / "out", formats=("state_dict",), whole_front=True)
        tuned = read_fine_tuned(result.folder)[0]
        outcome: dict[str, dict[str, float] | None] = {}
        for confidence in CONFIDENCES:
            try:
                chosen = choose_trial(result, "drop<=1%", confidence)[0]
            except UserError:
                outcome[str(confidence)] = None
                continue
            each = tuned[chosen.id]
            test = each.test[each.validation.index(max(each.validation))]  # the one that is taken home
            smaller = result.dense["macs"] / chosen.metrics["macs"]
            outcome[str(confidence)] = {"drop": final.dense_test_quality - test, "smaller": smaller}
    return outcome


def show(found: list[dict[str, dict[str, float] | None]]) -> None:
    """Print a line for each confidence."""
    print(f"{len(found)} searches")
    for confidence in map(str, CONFIDENCES):
        chosen = [each[confidence] for each in found if each[confidence]]
        if not chosen:
            print(f"confidence {confidence:<4}  chosen  0")
            continue
        kept = sum(each["drop"] <= 0.01 for each in chosen)
        low, high = binomtest(kept, len(chosen)).proportion_ci(method="wilson")
        print(
            f"confidence {confidence:<4}  chosen {len(chosen):>2}  kept {kept:>2} ({kept / len(chosen):.0%}, "
            f"95 % interval {low:.0%} to {high:.0%})  mean drop {fmean(each['drop'] for each in chosen):.2%}  "
            f"MACs {fmean(each['smaller'] for each in chosen):.1f}x fewer",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=40)
    parser.add_argument("--validation", type=int, default=600)
    parser.add_argument("--file", type=Path, default=Path("promise.json"))
    arguments = parser.parse_args()
    main(arguments.searches, arguments.validation, arguments.file)
