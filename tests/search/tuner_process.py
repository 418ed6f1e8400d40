"""A process that runs a tuner's trials until it is killed, writing down what NNI's manager would.

``python tuner_process.py FOLDER STORAGE SAMPLER LAST``: it resumes from FOLDER, announces each trial before it runs it,
and ends after LAST trials in all.
"""

import json
import sys
import time
from pathlib import Path

from problem import SPACE, judge, prepared

from autoprune.search.tuners.optuna.tuner import OptunaTuner


def main(folder: Path, storage: str, sampler: str, last: int) -> None:
    started, finished = folder / "started.jsonl", folder / "finished.jsonl"
    tuner = OptunaTuner(storage=storage, sampler=sampler, constraints=["macs<=500k"])
    tuner.update_search_space(SPACE)
    before, ended = read(started), read(finished)
    tuner.resume([(p, judge(p)) for p in ended.values()])
    tuner.prepare([prepared([{"criterion": "fpgm", "sparsity.a": 0.5}])])
    for number, parameters in before.items():
        if number not in ended:  # NNI runs it again, and asks the tuner for nothing
            write(finished, number, parameters)
            tuner.resume([(parameters, judge(parameters))])
    for number in range(len(before), last):
        parameters = tuner.ask(number)
        write(started, number, parameters)
        print("running", number, flush=True)
        time.sleep(0.02)
        write(finished, number, parameters)
        tuner.tell(number, parameters, judge(parameters))


def read(file: Path) -> dict[int, dict]:
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(json.loads(line) for line in lines)


def write(file: Path, number: int, parameters: dict) -> None:
    with file.open("a") as out:
        out.write(json.dumps([number, parameters]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
