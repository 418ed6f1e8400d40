"""A measure that is not a finite number is a failed trial with its reason, now and when an old search is read."""

import json
import math
import sqlite3
from dataclasses import replace

import pytest
import torch

import autoprune
from autoprune.errors import TrialFailure
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.front import front_as_csv
from autoprune.nni.database import load_experiment
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import RESULT
from autoprune.results.settings import TrialCommand
from autoprune.train import evaluation
from autoprune.trial import reference_latency
from autoprune.trial.record import execute, finished_baselines
from autoprune.trial.run import run_trial

MEASURES = {"accuracy": 0.9, "params": 100, "macs": 1000, "bytes": 400, "latency_ms": 0.1}


def test_an_accuracy_of_nan_is_a_failed_trial(digits):
    task, data, dense = digits
    task = replace(task, evaluate=lambda model, batches: {"accuracy": math.nan})
    with pytest.raises(TrialFailure, match="the accuracy at the evaluation is nan"):
        run_trial(task, Candidate(uniform=0.5), data, dense)
    rounds = []
    with pytest.raises(TrialFailure, match="accuracy at the evaluation is nan"):
        run_trial(task, Candidate(uniform=0.5, schedule="gradual"), data, dense, on_round=rounds.append)
    assert rounds == []


def test_outputs_of_nan_have_no_accuracy_and_no_loss(digits):
    task, data, _ = digits
    model = task.build()
    with torch.no_grad():
        model.head.bias.fill_(math.nan)
    for judge in (evaluation.quality, evaluation.quality_and_loss):
        with pytest.raises(TrialFailure, match="outputs became NaN"):
            judge(task, model, data.validation)


def test_a_loss_that_is_infinite_at_the_evaluation_is_a_failure(digits):
    task, data, dense = digits
    task = replace(task, loss=lambda outputs, batch: outputs.sum() * math.inf)
    with pytest.raises(TrialFailure, match="the loss at the evaluation is"):
        evaluation.quality_and_loss(task, dense.model, data.validation)


def test_an_infinite_latency_is_a_failed_trial_that_leaves_no_result(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_latency, "beside_reference", lambda *_: (math.inf, 1.0))
    channels = {group.name: group.channels for group in digits[2].groups}
    with pytest.raises(TrialFailure, match="latency_ms is inf, not a finite number"):
        execute(TrialCommand("digits"), digits, channels, Candidate(uniform=0.5), tmp_path, lambda accuracy: None)
    assert not (tmp_path / RESULT).exists()


def test_a_search_from_python_records_it_and_goes_on(digits, monkeypatch):
    real = evaluation.quality
    broken = iter([math.nan])
    task = digits[0]
    search = {"trials": 3, "baselines": False, "warm_start": False, "rungs": False}
    space = {"sparsity.hidden": {"_type": "uniform", "_value": [0.1, 0.5]}}
    autoprune.prune.dense.load_or_train(task, task.data())
    monkeypatch.setattr(evaluation, "quality", lambda *a: next(broken, None) or real(*a))
    found = autoprune.run_search(task, space=space, **search)
    assert [trial.reason for trial in found.failed] == ["accuracy is nan, not a finite number"]
    assert len(found.candidates) == 2


@pytest.fixture
def old_search(tmp_path):
    """A search that was kept before anybody looked: trial ``b`` has no accuracy, ``c`` no latency."""
    file = tmp_path / "old" / "db" / "nni.sqlite"
    file.parent.mkdir(parents=True)
    db = sqlite3.connect(file)
    db.execute("create table ExperimentProfile (params text, revision int)")
    db.execute("create table TrialJobEvent (timestamp int, trialJobId text, event text, data text, sequenceId int)")
    db.execute("create table MetricData (trialJobId text, type text, data text)")
    profile = {"experimentName": "old", "trialCommand": "autoprune trial digits", "tuner": {}}
    db.execute("insert into ExperimentProfile values (?, 1)", [json.dumps(profile)])
    wrong = {"a": {}, "b": {"accuracy": math.nan}, "c": {"latency_ms": math.inf}, "d": {"accuracy": 0.8, "macs": 900}}
    for number, (trial, changes) in enumerate(wrong.items()):
        measures = MEASURES | changes
        parameters = json.dumps({"parameters": {"sparsity": 0.5}})
        events = [(1, trial, "RUNNING", parameters, number), (2, trial, "SUCCEEDED", None, None)]
        db.executemany("insert into TrialJobEvent values (?, ?, ?, ?, ?)", events)
        metrics = measures | {"default": 0.9, "above_l1_filter": math.nan}
        db.execute("insert into MetricData values (?, 'FINAL', ?)", [trial, json.dumps(json.dumps(metrics))])
        folder = file.parents[1] / "environments" / "local-env" / "trials" / trial
        folder.mkdir(parents=True)
        parameters = {"baseline": "l1_filter" if trial in "ab" else None}
        dense = MEASURES if trial in "cd" else MEASURES | {"accuracy": math.nan}
        record = {"measures": measures, "dense": dense, "kept": {}, "channels": {}, "parameters": parameters}
        (folder / RESULT).write_text(json.dumps(record))
    db.commit()
    db.close()
    return load_experiment(file.parents[1])


def test_what_is_not_finite_in_an_old_search_reaches_neither_front_nor_table_nor_choice(old_search):
    assert {trial.id: trial.reason for trial in old_search.failed} == {
        "b": "accuracy is nan, not a finite number",
        "c": "latency_ms is inf, not a finite number",
    }
    assert [trial.id for trial in old_search.front()] == ["a", "d"]
    assert old_search.dense == MEASURES
    assert choose_trial(old_search, "knee")[0].id in "ad"
    assert not {"nan", "inf"} & set(front_as_csv(old_search).replace("\n", ",").split(","))
    assert all(math.isfinite(value) for trial in old_search.trials for value in trial.metrics.values())


def test_baselines_of_an_old_search_that_are_not_finite_are_compared_with_nobody(old_search):
    found = finished_baselines(old_search.trials[0].folder.parent)
    assert found == {"l1_filter": [MEASURES]}
