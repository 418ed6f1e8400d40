"""A search in trackers of experiments: told what it finds as it finds it, each by its own client."""

import csv
import sys
from pathlib import Path

import pytest

import autoprune
from autoprune.errors import UserError
from autoprune.report import loggers
from autoprune.report.loggers.base import Logger


@pytest.fixture
def task(monkeypatch, tmp_path):
    from tiny import make_task

    monkeypatch.chdir(tmp_path)
    return make_task()[0]


def search(task, **options):
    return autoprune.run_search(task, trials=3, baselines=False, warm_start=False, round_to=1, **options)


class Heard(Logger):
    """Keeps what it is told."""

    fails_at = None
    runs: list = []

    def begin(self, name, about):
        self.name, self.about, self.said = name, about, []
        self.runs.append(self)
        return f"heard: {name}"

    def hear(self, what, value):
        self.said.append((what, value))
        if self.fails_at == what:
            raise ConnectionError("no answer\nfrom there")

    def doing(self, words):
        self.hear("doing", words)

    def trial(self, ended):
        self.hear("trial", ended)

    def end(self, outcome):
        self.hear("end", outcome)

    def close(self, complete):
        self.hear("close", complete)


@pytest.fixture
def heard(monkeypatch):
    """Return the class of a logger called ``heard``, whose ``runs`` are those that were begun."""
    kind = type("Heard", (Heard,), {"runs": []})
    monkeypatch.setitem(loggers.LOGGERS._places, "heard", "a_package:Heard")
    monkeypatch.setitem(loggers.LOGGERS._loaded, "heard", kind)
    return kind


def test_a_logger_is_told_each_trial_then_the_front_and_the_choice(heard, task, capsys):
    result = search(task, log="heard")
    (run,) = heard.runs
    assert (run.name, run.about["trials"]) == ("tiny", "3") and "autoprune trial tiny" in run.about["trial command"]
    assert "heard: tiny" in capsys.readouterr().err
    ended = [value for what, value in run.said if what == "trial"]
    assert [each.step for each in ended] == [1, 2, 3] and not any(each.failed for each in ended)
    for trial, each in zip(result.trials, ended, strict=True):
        assert each.numbers["trial/accuracy"] == trial.metrics["accuracy"]
        assert each.numbers["sparsity/inner"] == trial.parameters["sparsity.inner"]
        assert each.texts["schedule"] == trial.parameters["schedule"]
    outcome, complete = run.said[-2][1], run.said[-1][1]
    assert [row[0] for row in outcome.table[1]] == [trial.id for trial in result.front()] and complete
    assert outcome.chosen.startswith(f"trial {result.choose().id}")
    assert any(value.startswith("1 of 3 trials done") for what, value in run.said if what == "doing")


@pytest.mark.parametrize("at", ["trial", "doing", "end", "close"])
def test_one_that_fails_midway_says_so_once_and_the_search_goes_on(heard, task, monkeypatch, at):
    monkeypatch.setattr(heard, "fails_at", at)
    with pytest.warns(UserWarning, match="logger heard failed and is left out .*: ConnectionError: no answer") as said:
        result = search(task, log=["heard"])
    assert len([each for each in said if "logger" in str(each.message)]) == 1
    assert len(result.candidates) == 3
    assert sum(what == at for what, _ in heard.runs[0].said) == 1


def test_a_failed_trial_is_logged_with_its_reason(heard, task, monkeypatch):
    def diverge(*_):
        raise autoprune.errors.TrialFailure("the loss became nan")

    monkeypatch.setattr("autoprune.api.engine.execute", diverge)
    search(task, log="heard")
    first = heard.runs[0].said[0][1]
    assert first.failed and first.texts["failed"] == "the loss became nan" and "trial/accuracy" not in first.numbers
    assert heard.runs[0].said[-2][1].chosen == ""


def test_names_and_packages_are_checked_before_anything_starts(heard, task, monkeypatch):
    monkeypatch.setattr(autoprune.prune.dense, "load_or_train", lambda *_: pytest.fail("began"))
    with pytest.raises(UserError, match="unknown logger 'tensorbord': use tensorboard"):
        search(task, log="tensorbord")
    monkeypatch.setattr("autoprune.base.packages.find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"--log wandb needs wandb: pip install 'autoprune\[log\]'"):
        search(task, log=("heard", "wandb"))
    monkeypatch.setattr(heard, "begin", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="logger heard cannot begin: ZeroDivisionError"):
        search(task, log="heard")


def test_the_command_refuses_a_logger_before_it_reads_the_config(tmp_path, monkeypatch, capsys):
    from autoprune import cli

    monkeypatch.setattr(sys, "argv", ["autoprune", "run", str(tmp_path / "none.yaml"), "--log", "mlflo"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "unknown logger 'mlflo': use mlflow" in capsys.readouterr().err


def test_tensorboard_reads_back_what_was_logged(task, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = search(task, log="tensorboard")
    (folder,) = (tmp_path / "runs").iterdir()
    found = EventAccumulator(str(folder)).Reload()
    points = found.Scalars("trial/accuracy")
    assert [point.step for point in points] == [1, 2, 3]
    assert [point.value for point in points] == pytest.approx([trial.metrics["accuracy"] for trial in result.trials])
    assert [point.value for point in found.Scalars("sparsity/hidden")] == pytest.approx(
        [trial.parameters["sparsity.hidden"] for trial in result.trials]
    )
    front = found.Tensors("front/text_summary")[0].tensor_proto.string_val[0].decode()
    assert all(trial.id in front for trial in result.front())
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {trial.id for trial in result.trials}  # HPARAMS


@pytest.mark.slow
def test_mlflow_has_a_run_for_the_search_and_one_for_each_trial(task, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/tracked.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    result = search(task, log="mlflow")
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path}/tracked.db")
    (experiment,) = [each for each in client.search_experiments() if each.name == "tiny"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"tiny", *(trial.id for trial in result.trials)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    first = runs[result.trials[0].id].data
    assert first.metrics["trial/accuracy"] == result.trials[0].metrics["accuracy"]
    assert first.params["criterion"] == result.trials[0].parameters["criterion"]
    whole = runs["tiny"]
    assert [each.step for each in client.get_metric_history(whole.info.run_id, "trial/macs")] == [1, 2, 3]
    assert whole.data.tags["chosen"].startswith(f"trial {result.choose().id}")
    front = Path(client.download_artifacts(whole.info.run_id, "front.csv", str(tmp_path)))
    assert [row["trial"] for row in csv.DictReader(front.open())] == [each.id for each in result.front()]


@pytest.mark.slow
def test_wandb_keeps_a_run_offline(task, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged = []
    begin = wandb.init

    def spied(**options):
        run = begin(**options)
        log = run.log
        run.log = lambda row, **how: (logged.append(row), log(row, **how))
        return run

    monkeypatch.setattr(wandb, "init", spied)
    result = search(task, log="wandb")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (kept,) = folder.glob("*.wandb")
    content = kept.read_bytes()
    assert all(trial.id.encode() in content for trial in result.trials) and b"sparsity/hidden" in content
    assert [row["trial/accuracy"] for row in logged[:3]] == [trial.metrics["accuracy"] for trial in result.trials]
    assert [row[0] for row in logged[3]["front"].data] == [trial.id for trial in result.front()]
