"""What NNI starts for each trial: ``autoprune trial TASK [options]``.

Light to import: the process that NNI starts only asks a warm one to do the work (see :mod:`autoprune.experiment.warm`).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from autoprune.candidate import Candidate
from autoprune.errors import TrialFailure, UserError
from autoprune.experiment import warm
from autoprune.search.command import TrialCommand

RESULT, MODEL, FAILURE = "result.json", "model.pt", "failure.txt"
"""What a trial leaves in its folder: its result and its model, or the reason of its failure."""


def main(words: list[str]) -> int:
    """Run one trial for NNI and return the exit status: 0, or 1 for a failure whose reason is in ``failure.txt``."""
    status = warm.run(words)
    return _recorded(lambda: Prepared(words).carry_out()) if status is None else status


def _recorded(trial) -> int:
    """Call ``trial``; turn an exception into a recorded failure."""
    try:
        trial()
    except Exception as error:
        traceback.print_exc()
        known = isinstance(error, TrialFailure | UserError)
        reason = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
        print(f"autoprune trial failed: {reason}", file=sys.stderr)
        (_folder() / FAILURE).write_text(reason + "\n")
        return 1
    return 0


class Prepared:
    """All that the trials of an experiment have in common, loaded once: imports, task, data, dense model.

    Args:
        words: what follows ``autoprune trial``.
    """

    def __init__(self, words: list[str]) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # two busy processes of two threads each run many times slower
        import nni.compression.pruning  # noqa: F401
        import torch

        from autoprune.experiment.setup import load_settings
        from autoprune.pruning.groups import find_groups

        torch.set_num_threads(1)
        torch.optim.SGD([torch.zeros(1)])  # imports torch._dynamo, which takes seconds
        self.settings = TrialCommand.from_words(words)
        self.task, self.data, self.dense = load_settings(self.settings)
        groups = find_groups(self.dense.model, self.task.example_input, self.task.keep)
        self.channels = {group.name: group.channels for group in groups}

    def run(self) -> int:
        """Run one trial in a forked process and return the exit status."""
        return _recorded(self._carry_out_forked)

    def _carry_out_forked(self) -> None:
        _adopt_trial()
        self.carry_out()

    def carry_out(self) -> None:
        """Ask NNI for parameters, run the trial, and report."""
        import nni
        import torch

        from autoprune.experiment.bridge.serializer import receive_plain_json
        from autoprune.search import baselines
        from autoprune.trial import run_trial

        receive_plain_json()
        folder = _folder()
        candidate = Candidate.from_parameters(nni.get_next_parameter() or {})

        def report(accuracy: float) -> None:
            nni.report_intermediate_result({"default": accuracy})

        settings, dense = self.settings, self.dense
        result = run_trial(self.task, candidate, self.data, dense, settings.seed, settings.round_to, report)
        metrics = scalar(result.measures, dense.measures, settings.size_weight) | result.measures
        if candidate.baseline is None:
            metrics |= baselines.margins(result.measures, dense.measures, finished_baselines(folder.parent))
        torch.save(result.model.state_dict(), folder / MODEL)
        record = {
            "parameters": candidate.to_parameters(),
            "measures": result.measures,
            "metrics": metrics,
            "dense": dense.measures,
            "kept": result.kept,
            "channels": self.channels,
        }
        _write_json(folder / RESULT, record)
        nni.report_final_result(metrics)


def _adopt_trial() -> None:
    """Let ``nni``, imported before the fork, see that this process is a trial."""
    import importlib
    import logging

    import nni.runtime.env_vars
    import nni.runtime.log
    import nni.runtime.trial_command_channel
    import nni.trial

    logging.getLogger().handlers.clear()
    for module in (nni.runtime.env_vars, nni.runtime.log, nni.trial):
        importlib.reload(module)
    nni.runtime.log._init_logger()
    nni.runtime.trial_command_channel.set_default_trial_command_channel()


def _folder() -> Path:
    return Path(os.environ.get("NNI_OUTPUT_DIR", "."))


def scalar(measures: dict[str, float], dense: dict[str, float], weight: float) -> dict[str, float]:
    """Return the one number that NNI's own tuners maximise, as ``default``.

    Accuracy times (MACs / dense MACs) ** -weight, the weighted product of MnasNet (Tan et al. 2019, equation 2); for
    unstructured sparsity, which saves no MACs, with the parameters in the MACs' place.
    """
    size = "macs" if measures["macs"] < dense["macs"] else "params"
    ratio = max(measures[size], 1) / max(dense[size], 1)
    return {"default": round(measures["accuracy"] * ratio**-weight, 6)}


def finished_baselines(trials: Path) -> dict[str, list[dict[str, float]]]:
    """Return the measures of the baseline trials that have finished, by the baseline's name.

    Args:
        trials: the folder that holds the trials' folders.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for file in sorted(trials.glob(f"*/{RESULT}")):
        record = json.loads(file.read_text())
        name = record["parameters"].get("baseline")
        if name:
            found.setdefault(name, []).append(record["measures"])
    return found


def _write_json(file: Path, content: Any) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(file)
