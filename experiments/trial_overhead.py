"""What a trial costs beyond training and evaluation, through a real NNI manager: wall-clock for each trial and core.

`python experiments/trial_overhead.py` runs small experiments on the task digits (schedule supernet, whose candidates
take hundredths of a second), as they are and without what saves time: the warm process that trials are forked from,
and the manager's faster look for new trials. It prints (time from the fifth trial's end to the last's) / trials *
concurrency.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from autoprune.nni.database import load_experiment
from autoprune.search.space import build_space
from autoprune.task.find import load_task

WAYS = {
    "as it is": {},
    "without the warm process": {"AUTOPRUNE_ENGINE": "here"},
    "without both": {"AUTOPRUNE_ENGINE": "here", "AUTOPRUNE_WITHOUT": "poll"},
}
SKIPPED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--port", type=int, default=8655)
    options = parser.parse_args()
    for name, variables in WAYS.items():
        for concurrency in (1, 2):
            seconds = measured(options.trials if not variables else 15, concurrency, options.port, variables)
            print(f"{name:<26} {concurrency} at a time: {seconds:.2f} s for each trial and core", flush=True)


def measured(trials: int, concurrency: int, port: int, variables: dict[str, str]) -> float:
    """Run one experiment and return seconds of wall-clock for each trial and core."""
    from autoprune.prune.find import find_groups

    task = load_task("digits")
    with tempfile.TemporaryDirectory() as home:
        config = {
            "experimentName": "overhead",
            "searchSpace": build_space(find_groups(task.build(), task.example_input, task.keep)),
            "trialCommand": "autoprune trial digits --no-baselines --no-warm-start",
            "trialCodeDirectory": ".",
            "trialConcurrency": concurrency,
            "maxTrialNumber": trials,
            "tuner": {
                "className": "autoprune.search.OptunaTuner",
                "codeDirectory": ".",
                "classArgs": {"sampler": "random", "rungs": False},
            },
            "trainingService": {"platform": "local"},
        }
        file = Path(home, "overhead.yaml")
        file.write_text(yaml.safe_dump(config))
        environment = os.environ | {"HOME": home, "OMP_NUM_THREADS": "1"} | variables
        environment.setdefault("AUTOPRUNE_CACHE", str(Path("~/.cache/autoprune").expanduser()))
        command = [str(Path(sys.executable).with_name("autoprune")), "run", str(file), "--port", str(port)]
        subprocess.run([*command, "--choose", "knee"], env=environment, cwd=home, check=True, capture_output=True)
        (folder,) = (
            each for each in Path(home, "nni-experiments").iterdir() if (each / "db").is_dir() and not each.is_symlink()
        )
        ends = sorted(trial.ended for trial in load_experiment(folder).trials if trial.ended)
    return (ends[-1] - ends[SKIPPED - 1]) / 1000 / (len(ends) - SKIPPED) * concurrency


if __name__ == "__main__":
    main()
