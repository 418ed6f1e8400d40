"""What a trial costs beside training and evaluation, in each engine: a light one, from the process that NNI starts.

    python experiments/trial_overhead.py
    python experiments/trial_overhead.py --device cuda --trials 30

The trial is the digits task's with one step of recovery. What it takes by itself is timed in a process that has
everything loaded (``execute``); the rest of the time of the process that NNI would start is the overhead. Times are
the least of the trials': other work on the machine only ever adds to them. The first trial in a server loads
everything and is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from trial_processes import trials

TASK = """
from dataclasses import replace
from autoprune.task.find import load_task

digits = load_task("digits")
task = replace(digits, training=replace(digits.training, steps=60), recovery=replace(digits.recovery, steps=1))
"""
PARAMETERS = {"sparsity": 0.5, "criterion": "l1_norm", "schedule": "one_shot"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--engines", default="workers,warm,here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task.py").write_text(TASK)
        words = ("--device", options.device)
        for engine in options.engines.split(","):
            if engine == "warm" and options.device != "cpu":
                continue
            place = folder / engine
            place.mkdir()
            (place / "task.py").write_text(TASK)
            with trials(place, words=words) as experiment:
                first = seconds_of_process(experiment, engine)
                seconds_of_execute(folder, words)  # loads what it needs
                alone, took = [], []
                for _ in range(options.trials):  # in turn: what else the machine does hits both alike
                    alone.append(seconds_of_execute(folder, words))
                    took.append(seconds_of_process(experiment, engine))
            beside = min(took) - min(alone)
            print(
                f"{engine}: the first trial {first:.1f} s; then {min(alone):.3f} s by itself, {beside:.3f} s beside it"
            )


def seconds_of_process(experiment, engine: str) -> float:
    begun = time.perf_counter()
    trial = experiment.run(engine, PARAMETERS)
    took = time.perf_counter() - begun
    assert trial.status == 0, trial.said
    return took


def seconds_of_execute(folder: Path, words: tuple[str, ...], loaded: list = []) -> float:  # noqa: B006  (loaded once)
    from autoprune.results.candidate import Candidate
    from autoprune.results.settings import TrialCommand
    from autoprune.trial.record import execute
    from autoprune.trial.setup import load_settings

    settings = TrialCommand.from_words([str(folder / "task.py"), "--round-to", "2", *words])
    if not loaded:
        import torch

        torch.set_num_threads(1)
        loaded.extend(load_settings(settings))
    place = Path(tempfile.mkdtemp(dir=folder))
    channels = {group.name: group.channels for group in loaded[2].groups}
    candidate = Candidate.from_parameters(PARAMETERS)
    begun = time.perf_counter()
    execute(settings, tuple(loaded), channels, candidate, place, lambda quality: None)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
