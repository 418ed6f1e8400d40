"""An experiment made by hand: no NNI, no torch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.results.experiment import Experiment, Trial
from autoprune.results.prepared import FILE, Prepared
from autoprune.results.size_model import SizeModel

DENSE = {"accuracy": 0.99, "params": 58_602, "macs": 1_204_544, "bytes": 217_000, "latency_ms": 0.214}
GROUPS = {"stem.0": 32, "block.0.0": 32, "down.0": 64, "hidden": 64}


class Maker:
    """Makes trials that look like NNI's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: list[Trial] = []

    def add(
        self, accuracy, share, *, criterion="l1_norm", baseline=None, sparsity=None, macs_share=None, **parameters_
    ) -> Trial:
        """Add a successful trial that has ``share`` of the dense model's parameters.

        Args:
            parameters_: replace what it ran, such as its ``schedule`` and ``budget``.
        """
        number = len(self.trials)
        trial_id = f"t{number:04}"
        measures = {name: round(DENSE[name] * share) for name in ("params", "bytes")} | {"accuracy": accuracy}
        measures["macs"] = round(DENSE["macs"] * (share if macs_share is None else macs_share))
        measures["latency_ms"] = DENSE["latency_ms"] * (0.5 + share / 2)
        parameters = {"criterion": criterion, "schedule": "one_shot"}
        if baseline:
            parameters |= {"baseline": baseline, "sparsity": sparsity}
        else:
            parameters |= {f"sparsity.{group}": round(1 - share**0.5, 2) for group in GROUPS}
        parameters |= parameters_
        whole = criterion == "level"
        kept = {name: n if whole else max(8, 8 * round(n * share**0.5 / 8)) for name, n in GROUPS.items()}
        folder = self.folder / "environments" / "local-env" / "trials" / trial_id
        folder.mkdir(parents=True)
        record = {"parameters": parameters, "measures": measures, "kept": kept, "channels": GROUPS, "dense": DENSE}
        (folder / "result.json").write_text(json.dumps(record))
        start = 1_790_000_000_000 + 2500 * number
        trial = Trial(trial_id, number, parameters, "SUCCEEDED", measures, None, folder, start, start + 4000)
        self.trials.append(trial)
        return trial

    def prepare(self, criterion="l1_norm", **changes) -> Trial:
        """Add the dense model's trial, which probed each group before the search."""
        trial = self.add(DENSE["accuracy"], 1, criterion=criterion, baseline="dense")
        sensitivity = {group: [(0.0, 0.99), (0.25, 0.98), (0.5, 0.9)] for group in GROUPS} | {"hidden": [(0.0, 0.99)]}
        prepared = Prepared(DENSE, SizeModel(GROUPS, ()), sensitivity, criterion=criterion, **changes)
        (trial.folder / FILE).write_text(json.dumps(prepared.to_dict()))
        return trial

    def fail(self, reason: str) -> Trial:
        """Add a failed trial."""
        number = len(self.trials)
        trial = Trial(f"t{number:04}", number, {"criterion": "fpgm"}, "FAILED", {}, reason, self.folder, None, None)
        self.trials.append(trial)
        return trial

    def experiment(self, **config) -> Experiment:
        """Return the experiment of the trials made so far."""
        tuner = {"className": "autoprune.search.OptunaTuner", "classArgs": {"objectives": ["accuracy", "macs"]}}
        command = "autoprune trial digits --seed 3"
        defaults = {"experimentName": "digits", "trialCommand": command, "trialConcurrency": 2, "tuner": tuner}
        space = {"sparsity.hidden": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]}}
        return Experiment("a1b2c3d4", self.folder, defaults | {"searchSpace": space} | config, list(self.trials))


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "a1b2c3d4")


@pytest.fixture
def experiment(maker):
    """Six baseline trials, candidates of which three are Pareto-optimal, and two failures."""
    for sparsity, accuracy in ((0.25, 0.988), (0.5, 0.98), (0.75, 0.95)):
        maker.add(accuracy, (1 - sparsity) ** 2, baseline="l1_filter", sparsity=sparsity)
    for sparsity, accuracy in ((0.5, 0.99), (0.8, 0.985), (0.95, 0.9)):
        share = 1 - sparsity
        maker.add(accuracy, share, criterion="level", baseline="lottery_ticket", sparsity=sparsity, macs_share=1)
    for accuracy, share in ((0.97, 0.5), (0.991, 0.6), (0.986, 0.25), (0.96, 0.3), (0.94, 0.08), (0.5, 0.1)):
        maker.add(accuracy, share)
    maker.fail("the loss became nan at step 12: lower the learning rate")
    maker.fail("group hidden would lose all of its 64 channels")
    return maker.experiment()


@pytest.fixture
def dense_unknown(maker):
    """A search that has just begun: one trial runs."""
    waiting = replace(maker.fail(""), status="RUNNING", reason=None)
    maker.trials = [waiting]
    return maker.experiment()
