"""After ``kill -9`` of its manager, an experiment resumes at once, and goes on where it stood."""

import json
import sqlite3
import subprocess
from contextlib import closing, suppress

import psutil
import pytest
from conftest import NNICTL, wait_until

from autoprune.nni.database import load_experiment


def interrupt_the_first_of_four(nni_home, without=""):
    """Start six trials and kill the manager while the first still runs; return the parameters so far."""
    # A third of a second each: the others must not all have run before the manager is killed.
    config = nni_home.config("--first 6 --sleep 0.3", trialConcurrency=2, maxTrialNumber=6)
    assert nni_home.create(config, without=without).returncode == 0
    wait_until(lambda: len(finished(nni_home)) >= 3, what="three finished trials")
    assert nni_home.trials_by_number()[0]["status"] == "RUNNING"
    before = parameters(nni_home.parameters_in_api())
    (manager,) = nni_home.managers()
    manager.kill()
    manager.wait(10)  # nnictl takes a zombie that nobody has reaped yet for a running manager
    return before


def finished(nni_home):
    return [trial for trial in nni_home.trials().values() if trial["status"] == "SUCCEEDED"]


def parameters(records):
    return {id_: record["parameters"] for id_, record in records.items()}


def test_an_experiment_resumes_right_after_its_manager_was_killed(nni_home):
    before = interrupt_the_first_of_four(nni_home)
    assert not nni_home.dispatchers()
    resumed = nni_home.resume()
    assert resumed.returncode == 0, resumed.stderr

    assert nni_home.wait_for_status("DONE")["errors"] == []
    after = parameters(nni_home.parameters_in_api())
    assert before.items() <= after.items()
    assert after == parameters(nni_home.parameters_run())
    assert sorted(nni_home.trials_by_number()) == [0, 1, 2, 3, 4, 5]
    assert all(len(trial["finalMetricData"]) == 1 for trial in nni_home.trials().values())


@pytest.mark.slow
@pytest.mark.slow
def test_without_the_bridge_the_tuner_outlives_its_manager_and_numbers_are_given_twice(nni_home):
    interrupt_the_first_of_four(nni_home, without="dispatcher,poll")
    orphans = nni_home.dispatchers()
    assert orphans
    for process in orphans:  # they would disturb what comes
        process.kill()
    assert nni_home.resume(without="sequence,poll").returncode == 0
    wait_until(lambda: len(nni_home.trials()) == 6, what="the sixth trial")
    assert len(nni_home.trials_by_number()) < 6


def kill_the_manager_while_it_resumes(nni_home, without=""):
    """Start a resume, and kill the manager as soon as it has noted which trials are to be run again."""
    before = events(nni_home).count("ADD_RESUMED")
    command = [NNICTL, "resume", nni_home.id, "--port", str(nni_home.port)]
    environment = nni_home.environment | {"AUTOPRUNE_WITHOUT": without}
    resuming = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: events(nni_home).count("ADD_RESUMED") >= before + 1, what="a trial that is resumed")
    for manager in nni_home.managers():
        manager.kill()
    assert resuming.wait(30) != 0
    for process in nni_home.dispatchers():
        process.kill()


def events(nni_home, trial="%"):
    query = "select event from TrialJobEvent where trialJobId like ?"
    with closing(sqlite3.connect(nni_home.folder / "db" / "nni.sqlite", timeout=10)) as database:
        return [event for (event,) in database.execute(query, [trial])]


@pytest.mark.slow
def test_trials_interrupted_by_two_kills_while_resuming_are_run_in_the_end(nni_home):
    before = interrupt_the_first_of_four(nni_home)
    kill_the_manager_while_it_resumes(nni_home)
    kill_the_manager_while_it_resumes(nni_home)
    assert nni_home.resume().returncode == 0
    assert nni_home.wait_for_status("DONE")["errors"] == []
    trials = nni_home.trials()
    assert before.keys() <= trials.keys()
    assert [trial["status"] for trial in trials.values()] == ["SUCCEEDED"] * 6
    assert events(nni_home).count("SUCCEEDED") == 6


SLOW_TUNER = """
def __init__(self, seed=None):
    super().__init__(seed)
    time.sleep(4)
def note(self, word):
    with open("calls.txt", "a") as file:
        file.write(word + "\\n")
def import_data(self, data):
    self.note("import")
def generate_parameters(self, *args, **kwargs):
    self.note("ask")
    return super().generate_parameters(*args, **kwargs)
"""


@pytest.mark.slow
def test_a_tuner_knows_the_results_before_it_is_asked_also_where_a_resumed_trial_ends_at_once(nni_home):
    tuner = nni_home.tuner(SLOW_TUNER.replace('"calls.txt"', repr(str(nni_home.home / "calls.txt"))))
    config = nni_home.config("--first 60 --sleep 0.5", maxTrialNumber=9, trialConcurrency=2, tuner=tuner)
    assert nni_home.create(config).returncode == 0
    wait_until(lambda: finished(nni_home), what="a result")
    (manager,) = nni_home.managers()
    manager.kill()
    manager.wait(10)
    (nni_home.home / "calls.txt").unlink()
    resuming = subprocess.Popen(
        [NNICTL, "resume", nni_home.id, "--port", str(nni_home.port)],
        env=nni_home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = {process.pid for process in nni_home.called("light_trial")}
    found = wait_until(lambda: [p for p in nni_home.called("light_trial") if p.pid not in before], what="its next run")
    for process in found:
        with suppress(psutil.Error):  # its shell has gone with it
            process.kill()
    assert resuming.wait(60) == 0
    calls = wait_until(lambda: (nni_home.home / "calls.txt").read_text().split(), what="the tuner is asked")
    assert calls[0] == "import"


@pytest.mark.slow
@pytest.mark.slow
def test_without_the_bridge_a_kill_while_resuming_loses_them(nni_home):
    interrupt_the_first_of_four(nni_home)
    kill_the_manager_while_it_resumes(nni_home, without="resumed")
    assert nni_home.resume(without="resumed").returncode == 0
    nni_home.wait_for_status("DONE")
    assert "ADD_RESUMED" in [trial["status"] for trial in nni_home.trials().values()]


def test_a_manager_that_notes_its_status_replaces_the_registry_whole(nni_home):
    registry = nni_home.home / "nni-experiments" / ".experiment"
    assert nni_home.create(nni_home.config("--sleep 2", maxTrialNumber=1)).returncode == 0
    with registry.open() as opened_before:
        wait_until(lambda: status_in(registry, nni_home) == "DONE", what="a search that is noted as done")
        # Written over in place, it would be empty for a moment, and stay so if the manager were killed in it.
        assert json.load(opened_before)[nni_home.id]["status"] != "DONE"


def status_in(registry, nni_home):
    return json.loads(registry.read_text())[nni_home.id]["status"]


@pytest.mark.slow
def test_a_trial_whose_result_was_stored_before_the_kill_is_not_run_again(nni_home):
    interrupt_the_first_of_four(nni_home)
    (first,) = [trial for trial in load_experiment(nni_home.folder).trials if trial.sequence == 0]
    with closing(sqlite3.connect(nni_home.folder / "db" / "nni.sqlite")) as database, database:
        database.execute("insert into MetricData values (0, ?, '0', 'FINAL', 0, '\"0.75\"')", [first.id])
    assert nni_home.resume().returncode == 0
    nni_home.wait_for_status("DONE")
    trial = nni_home.trials()[first.id]
    assert trial["status"] == "SUCCEEDED"
    assert [metric["data"] for metric in trial["finalMetricData"]] == ['"0.75"']
    assert "ADD_RESUMED" not in events(nni_home, first.id)
