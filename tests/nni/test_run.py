"""Whole experiments on real digits: by `autoprune run` and by hand, with AutoPrune's tuner and with NNI's."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnxruntime
import optuna
import pytest
import requests
import yaml
from conftest import wait_until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoprune.nni.database import load_experiment

PROGRAMS = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
QUICK = "autoprune trial quick.py"
TASK = """
from dataclasses import replace
from autoprune.task.find import load_task
digits = load_task("digits")
task = replace(digits, training=replace(digits.training, steps=60), recovery=replace(digits.recovery, steps=10))
"""


@pytest.fixture
def digits(nni_home):
    """A digits experiment that takes seconds: ``digits(**changes)`` writes its config."""
    (nni_home.home / "quick.py").write_text(TASK)
    nni_home.environment["AUTOPRUNE_CACHE"] = os.environ["AUTOPRUNE_CACHE"]
    space = yaml.safe_load((REPOSITORY / "search_spaces" / "digits.yaml").read_text())

    def write(trial=QUICK, **changes) -> Path:
        path = nni_home.config()
        content = yaml.safe_load((REPOSITORY / "experiments" / "digits.yaml").read_text())
        del content["searchSpaceFile"]
        content |= {"trialCommand": trial, "searchSpace": space, "maxTrialNumber": 12} | changes
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def call(nni, program, *words, **environment) -> subprocess.CompletedProcess:
    command = [PROGRAMS / program, *map(str, words)]
    return subprocess.run(
        command, env=nni.environment | environment, cwd=nni.home, capture_output=True, text=True, timeout=200
    )


def test_a_run_ends_with_a_front_a_report_and_a_checked_model(nni_home, digits):
    done = call(
        nni_home, "autoprune", "run", digits(), "--port", nni_home.port, "--choose", "knee", "--log", "tensorboard"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"http://127.0.0.1:{nni_home.port}" in done.stdout
    assert "12 of 12 trials done, 0 failed" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert re.search(r"It will take about \d+ (s|min) at most", done.stdout)

    experiment = load_experiment(nni_home.folder)
    assert len(experiment.trials) == 12
    assert {name: len(trials) for name, trials in experiment.baselines.items()} == {"l1_filter": 3, "lottery_ticket": 3}
    assert [bool(trial.baseline) for trial in experiment.trials] == [True] * 7 + [False] * 5
    for trial in experiment.candidates:  # every candidate knows its distance to every baseline at its own size
        assert {"default", "above_l1_filter", "above_lottery_ticket"} <= set(trial.metrics)
        assert trial.metrics["above_l1_filter"] == pytest.approx(experiment.margins(trial)["above_l1_filter"])
        assert trial.metrics["macs"] <= experiment.dense["macs"]

    (folder,) = (nni_home.home / "outputs").iterdir()
    assert {file.name for file in folder.iterdir()} >= {"report.html", "model.pt2", "model.onnx", "front.csv"}
    rows = list(csv.DictReader((folder / "front.csv").open()))
    assert [row["trial"] for row in rows] == [trial.id for trial in experiment.front()]
    card = json.loads((folder / "model_card.json").read_text())
    assert card["trial"] in done.stdout
    assert 0.5 < card["test accuracy"]["dense"] <= 1
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert session.get_inputs()[0].shape[1:] == [1, 8, 8]

    journal = nni_home.folder / "checkpoint" / "optuna.journal"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    complete = (optuna.trial.TrialState.COMPLETE,)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in ("autoprune", "autoprune rung 1")]
    told = {round(t.values[0], 6) for study in studies for t in study.get_trials(states=complete)}
    assert {round(trial.metrics["accuracy"], 6) for trial in experiment.candidates} <= told
    (logged,) = (nni_home.home / "runs").iterdir()
    found = EventAccumulator(str(logged)).Reload()
    assert [point.step for point in found.Scalars("trial/macs")] == list(range(1, 13))
    test_quality = found.Scalars("chosen/test accuracy")[0].value
    assert (
        test_quality == pytest.approx(card["test accuracy"]["pruned"]) and f"--logdir runs/{logged.name}" in done.stdout
    )
    wait_until(lambda: not nni_home.processes(), what="the end of every process")


OWN = """
import torch
from torch import nn
from torch.utils.data import TensorDataset
import autoprune

x = torch.randn(96, 12, generator=torch.Generator().manual_seed(0))
data = TensorDataset(x, x[:, :4].sum(1, keepdim=True))
short = autoprune.Recipe(steps=30, learning_rate=0.01)
task = autoprune.Task(
    "numbers",
    lambda: nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)),
    example=torch.zeros(1, 12),
    train=data, validation=data, test=data,
    loss=lambda outputs, batch: nn.functional.mse_loss(outputs, batch[1]),
    evaluate=lambda model, batches: {"error": sum(float((model(x) - y).abs().sum()) for x, y in batches) / 96},
    metric=autoprune.Metric("error", direction="minimize"),
    training=short, recovery=short,
)
"""


@pytest.mark.slow
def test_a_metric_of_ones_own_is_minimised_by_the_tuner_and_shown_by_every_process(nni_home, digits):
    (nni_home.home / "own.py").write_text(OWN)
    tuner = {
        "className": "autoprune.search.OptunaTuner",
        "codeDirectory": ".",
        "classArgs": {"objectives": ["error", "macs"], "constraints": ["drop<=100%"], "rungs": False},
    }
    space = {f"sparsity.{name}": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]} for name in (0, 2)}
    command = "autoprune trial own.py --no-baselines"
    created = nni_home.create(digits(command, tuner=tuner, searchSpace=space, maxTrialNumber=5))
    assert created.returncode == 0, created.stderr
    nni_home.wait_for_status("DONE", seconds=150)
    experiment = load_experiment(nni_home.folder)
    assert experiment.metric.direction == "minimize" and experiment.config["trialCommand"].endswith("minimize:number")
    assert not experiment.failed and len(experiment.candidates) == 4
    assert experiment.front()[0].quality == min(trial.quality for trial in experiment.candidates)
    table = call(nni_home, "autoprune", "pareto", nni_home.id)
    assert "Pareto front of error and macs" in table.stdout, table.stderr
    page = requests.get(f"http://127.0.0.1:{nni_home.port}/api/v1/autoprune/page", timeout=30).json()
    assert (page["metric"], page["front"]) == ("error", [trial.id for trial in experiment.front()])


@pytest.mark.slow
def test_by_hand_with_nnis_own_tpe_the_same_experiment_runs_and_its_results_are_read(nni_home, digits):
    tuner = {"name": "TPE", "classArgs": {"optimize_mode": "maximize", "seed": 0}}
    space = {  # edited by hand: one group at a fixed sparsity, another one left whole
        "sparsity.hidden": {"_type": "choice", "_value": [0.5]},
        "sparsity.down.0": {"_type": "quniform", "_value": [0.25, 0.75, 0.25]},
    }
    created = nni_home.create(digits(tuner=tuner, searchSpace=space, maxTrialNumber=9))
    assert created.returncode == 0, created.stderr
    nni_home.wait_for_status("DONE", seconds=150)
    experiment = load_experiment(nni_home.folder)
    assert [trial.status for trial in experiment.trials] == ["SUCCEEDED"] * 9
    assert sum(len(trials) for trials in experiment.baselines.values()) == 6
    assert {t.id: t.parameters for t in experiment.trials} == {
        id_: p["parameters"] for id_, p in nni_home.parameters_in_api().items()
    }

    for trial in experiment.candidates:
        kept = trial.record["kept"]
        assert (kept["hidden"], kept["stem.0"]) == (32, 32)
        assert kept["down.0"] == round(64 * (1 - trial.parameters["sparsity.down.0"]))

    table = call(nni_home, "autoprune", "pareto", nni_home.id)
    assert table.returncode == 0, table.stderr
    for trial in experiment.front():
        assert trial.id in table.stdout
    chosen = experiment.candidates[0].id
    exported = call(nni_home, "autoprune", "export", nni_home.id, "--choose", chosen, "-o", nni_home.home / "model")
    assert exported.returncode == 0, exported.stderr
    assert chosen in exported.stdout
    assert (nni_home.home / "model" / "model.onnx").is_file()

    assert nni_home.nnictl("stop", nni_home.id).returncode == 0
    wait_until(lambda: not nni_home.processes(), what="the end of every process")


@pytest.mark.slow
def test_a_failing_trial_is_recorded_with_its_reason_and_the_search_goes_on(nni_home, digits):
    (nni_home.home / "quick.py").write_text(
        TASK + "task = replace(task, recovery=replace(task.recovery, learning_rate=1e12))\n"
    )
    space = {
        "criterion": {"_type": "choice", "_value": ["l1_norm"]},
        "sparsity": {"_type": "choice", "_value": [0.5, 0.75]},
        "schedule": {"_type": "choice", "_value": ["one_shot", "lottery_ticket"]},  # the second does without recovery
    }
    config = digits(trial=QUICK + " --no-baselines --no-warm-start", searchSpace=space, maxTrialNumber=4)
    tuner = {"name": "GridSearch"}
    content = yaml.safe_load(config.read_text()) | {"tuner": tuner}
    config.write_text(yaml.safe_dump(content))
    done = call(nni_home, "autoprune", "run", config, "--port", nni_home.port)
    assert done.returncode == 0, done.stdout + done.stderr
    experiment = load_experiment(nni_home.folder)
    assert {t.parameters["schedule"]: t.succeeded for t in experiment.trials} == {
        "one_shot": False,
        "lottery_ticket": True,
    }
    assert all(re.match(r"the loss became (nan|inf)", trial.reason) for trial in experiment.failed)


@pytest.mark.slow
def test_a_trial_finds_the_same_in_every_engine(nni_home, digits):
    accuracies = []
    space = {"sparsity": {"_type": "choice", "_value": [0.5]}}
    for engine in ("warm", "workers", "here"):
        config = digits(
            trial=QUICK + " --no-baselines --no-warm-start",
            searchSpace=space,
            maxTrialNumber=1,
            tuner={"name": "GridSearch"},
        )
        assert nni_home.create(config, AUTOPRUNE_ENGINE=engine).returncode == 0
        nni_home.wait_for_status("DONE", seconds=100)
        (trial,) = load_experiment(nni_home.folder).trials
        accuracies.append(trial.metrics["accuracy"])
        nni_home.stop()
    assert len(set(accuracies)) == 1


@pytest.mark.slow
def test_a_stopped_experiment_leaves_no_trial_behind(nni_home, digits):
    (nni_home.home / "quick.py").write_text(
        TASK + "task = replace(task, recovery=replace(task.recovery, steps=10**9))\n"
    )
    assert nni_home.create(digits(trial=QUICK + " --no-baselines")).returncode == 0
    wait_until(lambda: len(nni_home.called("autoprune.nni.warm_trials")) >= 3, 60, "two forked trials")
    assert nni_home.nnictl("stop", nni_home.id).returncode == 0
    wait_until(lambda: not nni_home.processes(), what="the end of every process")


@pytest.mark.slow
@pytest.mark.parametrize("by_hand", [False, True], ids=["autoprune run", "nnictl create"])
def test_a_task_of_ones_own_runs_from_one_file(nni_home, by_hand):
    nni_home.environment["AUTOPRUNE_CACHE"] = os.environ["AUTOPRUNE_CACHE"]
    config = yaml.safe_load((REPOSITORY / "experiments" / "custom" / "my_task.yaml").read_text())
    config |= {"maxTrialNumber": 9, "trialCodeDirectory": str(REPOSITORY / "experiments" / "custom")}
    config["searchSpaceFile"] = str(REPOSITORY / "experiments" / "custom" / "search_space.yaml")
    path = nni_home.home / "my_task.yaml"
    path.write_text(yaml.safe_dump(config))
    assert len((REPOSITORY / "experiments" / "custom" / "my_task.py").read_text().splitlines()) < 50
    if by_hand:
        assert nni_home.create(path).returncode == 0
        nni_home.wait_for_status("DONE", seconds=150)
    else:
        done = call(nni_home, "autoprune", "run", path, "--port", nni_home.port)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(load_experiment(nni_home.folder).candidates) == 2
