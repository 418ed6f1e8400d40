"""The studies outlive their process, and other processes and machines can open and join them."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from problem import SPACE, prepared, search
from tuner_process import read

from autoprune.errors import UserError
from autoprune.search.distributions import rounded
from autoprune.search.halving import rung_of
from autoprune.search.tuners.optuna.tuner import SAMPLERS, OptunaTuner

KINDS = ["journal", "sqlite"]
SLOW = [pytest.param("gp", marks=pytest.mark.slow)]


def place(tmp_path, kind: str) -> str:
    return str(tmp_path / "study.journal") if kind == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def make(storage: str, **arguments) -> OptunaTuner:
    tuner = OptunaTuner(storage=storage, **arguments)
    tuner.update_search_space(SPACE)
    tuner.prepare([prepared()])
    return tuner


def point(parameters) -> tuple:
    return tuple(sorted(rounded({name: value for name, value in parameters.items() if name != "budget"}).items()))


def run(tmp_path, storage: str, sampler: str, last: int, kill_at: int | None = None) -> None:
    """Run the tuner in a process of its own; kill it while the trial ``kill_at`` runs."""
    command = [sys.executable, Path(__file__).with_name("tuner_process.py"), tmp_path, storage, sampler, str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line == f"running {kill_at}\n":
                process.kill()
                break
    assert process.returncode == (0 if kill_at is None else -9)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"] + SLOW)
def test_a_tuner_resumes_after_its_process_is_killed_with_no_trial_lost_and_none_repeated(tmp_path, sampler):
    storage = place(tmp_path, "journal")
    run(tmp_path, storage, sampler, 24, kill_at=11)
    run(tmp_path, storage, sampler, 20)
    started, finished = read(tmp_path / "started.jsonl"), read(tmp_path / "finished.jsonl")
    assert len(started) == 20
    assert started == finished
    runs = {(rung_of(parameters), point(parameters)) for parameters in started.values()}
    assert len(runs) == 20

    studies = make(storage, sampler=sampler).studies
    told = {(i, point(t.params)) for i, each in enumerate(studies) for t in each.trials if t.state.name == "COMPLETE"}
    assert told == runs
    assert not [trial for study in studies for trial in study.trials if trial.state.name == "RUNNING"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_sees_every_study(tmp_path, kind):
    storage = place(tmp_path, kind)
    done = search(make(storage), range(8))
    script = (
        "import sys; from autoprune.search.tuners.optuna.storage import open_storage; import optuna\n"
        "storage = open_storage(sys.argv[1])\n"
        "print(sum(len(optuna.load_study(study_name=name, storage=storage).get_trials(states=[1]))"
        " for name in optuna.get_all_study_names(storage)))"
    )
    out = subprocess.run([sys.executable, "-c", script, storage], capture_output=True, text=True, check=True).stdout
    assert int(out) == len(done)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_tuner_joins_the_search_and_neither_repeats_the_other(tmp_path, kind):
    storage = place(tmp_path, kind)
    first, second = make(storage, seed=0), make(storage, seed=0)
    done = []
    for i in range(7):
        for tuner in (first, second):
            done += search(tuner, [i])
    runs = [tuple(sorted(parameters.items())) for parameters, _ in done]
    assert len(set(runs)) == len(runs) == 14
    assert [len(study.get_trials()) for study in first.studies] == [len(s.get_trials()) for s in second.studies]


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_search_in_a_storage_goes_on(tmp_path, kind):
    storage = place(tmp_path, kind)
    before = search(make(storage), range(5))
    after = search(make(storage), range(5))
    runs = [tuple(sorted(parameters.items())) for parameters, _ in before + after]
    assert len(set(runs)) == 10


def test_optuna_s_dashboard_serves_the_studies_of_a_journal(tmp_path):
    import optuna_dashboard

    storage = place(tmp_path, "journal")
    search(make(storage), range(4))
    assert optuna_dashboard.wsgi(optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(storage)))


@pytest.mark.parametrize(
    "storage, message",
    [
        ("sqlite:////nowhere/at/all/study.db", "cannot be opened: .*unable to open database file"),
        ("nosuchdb://host/name", "nosuchdb://host/name: .*nosuchdb"),
        ("", "must be a file or an URL"),
        (5, "must be a file or an URL"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_refused_in_one_line(storage, message):
    with pytest.raises(UserError, match=message) as caught:
        OptunaTuner(storage=storage)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_shown():
    with pytest.raises(UserError) as caught:
        OptunaTuner.validate(storage="nosuchdb://me:secret@host/name")
    assert "secret" not in str(caught.value)
    assert "me@host" in str(caught.value)
