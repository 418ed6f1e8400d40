"""What belongs to the whole process is after a call as it was before it."""

import importlib
import os
import random
import signal
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch.utils.data import Dataset

import autoprune
from autoprune.export.int8 import export_int8
from autoprune.measure import latency
from autoprune.prune import dense
from autoprune.prune.criteria import Context, channels_to_remove
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.task.task import Splits
from autoprune.train import evaluation
from autoprune.trial import recipe_search as recipe
from autoprune.trial import reference_latency, sensitivity


def state() -> dict:
    return {
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "fused attention": torch.backends.mha.get_fastpath_enabled(),
        "gradients": torch.is_grad_enabled(),
        "type": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        # those for every message and every module: libraries add narrower ones whenever they import a part of theirs
        "warnings": [each for each in warnings.filters if each[1] is None and each[3] is None],
        "optuna": optuna.logging.get_verbosity(),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "output": (sys.stdout, sys.stderr),
    }


@pytest.fixture(scope="module")
def imported():
    """Import what changes the process when it is first imported: that is the libraries' doing."""
    for name in ("nni.compression.pruning", "onnxruntime.quantization"):
        importlib.import_module(name)
    torch.optim.SGD([torch.zeros(1)])  # imports torch._dynamo


@pytest.fixture
def unchanged(imported, monkeypatch):
    """Return a context manager that checks that what happens in it leaves all global state as it is."""
    threads = [7]  # only told: so many on a busy machine are slow
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: threads.__setitem__(0, number))

    @contextmanager
    def check():
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        torch.manual_seed(1234)
        random.seed(5)
        np.random.seed(6)
        try:
            before = state()
            yield
            after = state()
        finally:
            optuna.logging.set_verbosity(verbosity)
        changed = [name for name in before if before[name] != after[name]]
        assert not changed

    return check


class Pairs(Dataset):
    """A map-style data set that is not a ``TensorDataset``."""

    def __init__(self, inner: Dataset) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, i: int):
        return self.inner[i]


@pytest.fixture
def quick(digits):
    task, data, trained = digits
    short = {"training": replace(task.training, steps=4), "recovery": replace(task.recovery, steps=2)}
    return replace(task, **short, supernet_steps=2), data, trained


def test_building_and_training_a_dense_model(quick, unchanged, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))
    task, data, _ = quick
    for splits in (data, Splits(*(Pairs(split) for split in data))):
        with unchanged():
            dense.load_or_train(task, splits, seed=len(splits.train) % 7)
            evaluation.quality(task, task.build(), splits.validation)


@pytest.mark.parametrize("schedule", ["one_shot", "supernet", "lottery_ticket", "set"])
def test_a_trial(quick, unchanged, schedule):
    task, data, trained = quick
    criterion = {"one_shot": "slim", "supernet": "random"}.get(schedule, "level")
    with unchanged():
        autoprune.run_trial(task, Candidate(uniform=0.5, criterion=criterion, schedule=schedule), data, trained)


@pytest.mark.parametrize("criterion", ["slim", "l0", "taylor", "l1_norm", "random"])
def test_a_criterion(quick, unchanged, criterion):
    task, data, trained = quick
    with unchanged():
        asked = {"hidden": 8}
        channels_to_remove(trained.model, trained.groups, criterion, asked, Context(task, data.train, steps=2))


def test_sensitivities_and_recipes(quick, unchanged, monkeypatch):
    task, data, trained = quick
    monkeypatch.setattr(sensitivity, "load_task", lambda reference: task)
    with unchanged():
        sensitivity.task_curves("digits", "fpgm", on_supernet=True)
        sensitivity.task_sensitivities(task)
    with unchanged():
        recipe.search_recipe(replace(task, name="another"), data, trained, trials=2, seed=3)


def test_latencies(quick, unchanged):
    task, _, trained = quick
    with unchanged():
        latency.compare(trained.model, trained.model, task.example_input, runs=1, warmup=0)
        reference_latency.reference_ms(trained, task.example_input, "eager", 1)


def test_files(quick, unchanged, tmp_path):
    task, data, trained = quick
    files = autoprune.export.files_at(tmp_path / "out", ("pt2", "state_dict"))  # ONNX is written below
    with unchanged():
        autoprune.export.export(task, trained.model, trained.model, data.validation, files, runs=1)
    with unchanged():
        export_int8(task, trained.model, trained, data, tmp_path / "int8.onnx", runs=1)


def test_a_search_its_export_and_its_report(digits, unchanged, tmp_path):
    task = replace(digits[0], recovery=replace(digits[0].recovery, steps=2), supernet_steps=2)
    with unchanged():
        result = autoprune.run_search(task, trials=2, baselines=False, folder=tmp_path / "search")
    for steps in (None, 2):
        with unchanged():
            result.export(folder=tmp_path / "out", formats=("state_dict",), runs=1, recovery_steps=steps)
    with unchanged():
        result.model()
        result.report(tmp_path / "report.html")


def test_the_shared_weights(quick, unchanged):
    task, data, trained = quick
    with unchanged():
        supernet.load_or_train(task, data, trained, trained.groups, "random", seed=4)
