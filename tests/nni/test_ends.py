"""How trials, tuners and searches end, called by its name: killed, stopped, failed, out of time."""

import re
import signal
import subprocess
from contextlib import suppress
from functools import partial

import pytest
from conftest import in_use, wait_until
from test_manage import AUTOPRUNE, autoprune, listed
from test_run import QUICK, TASK, call, digits  # noqa: F401  (a fixture)

from autoprune.errors import UserError
from autoprune.nni.database import load_experiment

SLOW = partial(pytest.param, marks=pytest.mark.slow)


def running_trial(nni_home):
    """Return the process of the one trial that runs."""
    wait_until(lambda: nni_home.parameters_run(), what="a trial at work")
    (process,) = nni_home.called("light_trial.py")
    return process


def first_ended(nni_home):
    return wait_until(lambda: [t for t in load_experiment(nni_home.folder).trials if t.ended], what="a trial's end")[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, SLOW(signal.SIGSEGV)])
def test_a_trial_killed_by_a_signal_has_failed_and_says_so(nni_home, number):
    assert nni_home.create(nni_home.config("--sleep 60", maxTrialNumber=1)).returncode == 0
    running_trial(nni_home).send_signal(number)
    trial = first_ended(nni_home)
    assert trial.status == "FAILED"
    assert trial.reason.startswith(f"killed by signal {number.value} ({number.name})")
    assert load_experiment(nni_home.folder).counts == "1 of 1 trials done, 1 failed"


@pytest.mark.slow
def test_without_the_bridge_it_counts_as_cancelled(nni_home):
    assert nni_home.create(nni_home.config("--sleep 60", maxTrialNumber=1), without="signals").returncode == 0
    running_trial(nni_home).kill()
    assert first_ended(nni_home).status == "USER_CANCELED"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGABRT, SLOW(signal.SIGKILL)])
def test_a_trial_in_the_warm_process_that_is_killed_names_the_signal(nni_home, digits, number):  # noqa: F811
    task = TASK + "task = replace(task, recovery=replace(task.recovery, steps=10**9))\n"
    (nni_home.home / "quick.py").write_text(task)
    space = {"schedule": {"_type": "choice", "_value": ["one_shot"]}, "sparsity": {"_type": "choice", "_value": [0.5]}}
    tuner, trial = {"name": "GridSearch"}, f"{QUICK} --no-baselines --no-warm-start"
    config = digits(trial=trial, searchSpace=space, tuner=tuner, maxTrialNumber=1, trialConcurrency=1)
    assert nni_home.create(config).returncode == 0
    _server, child = wait_until(lambda: (found := warm_processes(nni_home))[1:] and found, 60, "a forked trial")
    child.send_signal(number)
    trial = first_ended(nni_home)
    assert trial.status == "FAILED"
    assert trial.reason.startswith(f"killed by signal {number.value} ({number.name})")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["while it has a child", "before it forks"])
def test_trials_outlive_the_warm_process(nni_home, digits, when):  # noqa: F811
    config = digits(trial=f"{QUICK} --no-baselines --no-warm-start", maxTrialNumber=4)
    assert nni_home.create(config).returncode == 0
    wait_until(lambda: len(warm_processes(nni_home)) > (when != "before it forks"), 60, "the warm process")
    warm_processes(nni_home)[0].kill()
    nni_home.wait_for_status("DONE", seconds=120)
    assert [trial.status for trial in load_experiment(nni_home.folder).trials] == ["SUCCEEDED"] * 4


def warm_processes(nni_home):
    """Return the warm process and its children."""
    found = nni_home.called("autoprune.nni.warm_trials")
    return sorted(found, key=lambda process: process.create_time())


def start(nni_home, *words) -> subprocess.Popen:
    """Start a command of `autoprune` with its output in a file."""
    with (nni_home.home / "said.txt").open("w") as said:
        command = [AUTOPRUNE, *map(str, words)]
        return subprocess.Popen(command, env=nni_home.environment, cwd=nni_home.home, stdout=said, stderr=said)


def start_endless_run(nni_home, digits) -> subprocess.Popen:  # noqa: F811
    config = digits(trial=f"{QUICK} --no-baselines --no-warm-start", maxTrialNumber=999)
    (nni_home.home / "quick.py").write_text(
        TASK
        + "task = replace(task, training=replace(task.training, steps=5), recovery=replace(task.recovery, steps=1))\n"
    )
    return start(nni_home, "run", config, "--port", nni_home.port)


def said(nni_home) -> str:
    return (nni_home.home / "said.txt").read_text()


def a_candidate_is_done(nni_home):
    def found():
        with suppress(UserError, FileNotFoundError):
            return load_experiment(nni_home.folder).candidates

    return wait_until(found, 100, "a candidate")


def nothing_is_left(nni_home):
    wait_until(lambda: not nni_home.processes(), what="the end of every process")
    return not in_use(nni_home.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, SLOW(signal.SIGHUP)])
def test_a_run_that_is_told_to_end_leaves_a_report_and_neither_manager_nor_port(nni_home, digits, number):  # noqa: F811
    run = start_endless_run(nni_home, digits)
    a_candidate_is_done(nni_home)
    run.send_signal(number)
    assert run.wait(40) == 128 + number
    assert nothing_is_left(nni_home)
    assert f"autoprune resume {nni_home.id}" in said(nni_home)
    assert "Traceback" not in said(nni_home)
    assert list((nni_home.home / "outputs").glob("*/report.html"))
    assert listed(nni_home)[2] == "stopped"


@pytest.mark.slow
def test_a_run_that_is_told_to_end_while_its_tuner_starts_leaves_no_manager(nni_home, digits):  # noqa: F811
    run = start_endless_run(nni_home, digits)
    wait_until(nni_home.managers, 60, "a manager")
    run.send_signal(signal.SIGTERM)
    assert run.wait(40) == 128 + signal.SIGTERM
    assert nothing_is_left(nni_home)


@pytest.mark.slow
def test_a_search_that_is_stopped_from_elsewhere_is_called_stopped(nni_home, digits):  # noqa: F811
    run = start_endless_run(nni_home, digits)
    a_candidate_is_done(nni_home)
    assert autoprune(nni_home, "stop", nni_home.id).returncode == 0
    assert run.wait(40) == 130
    assert f"the search was stopped from elsewhere: go on with `autoprune resume {nni_home.id}`" in said(nni_home)
    assert "failed:" not in said(nni_home)


def test_a_search_whose_tuner_was_killed_is_listed_as_failed_with_the_reason(nni_home):
    assert nni_home.create(nni_home.config("--measures 1 --sleep 1", maxTrialNumber=99)).returncode == 0
    run = start(nni_home, "watch", nni_home.id)
    wait_until(lambda: nni_home.parameters_run(), what="a trial")
    for tuner in nni_home.dispatchers():
        tuner.kill()
    assert run.wait(40) == 1
    assert "the tuner process died" in said(nni_home)
    nni_home.stop()
    told = autoprune(nni_home, "list").stdout
    assert "failed" in next(line for line in told.splitlines() if line.split()[:1] == [nni_home.id])
    assert f"{nni_home.id}: failed: the tuner process died" in told


@pytest.mark.slow
def test_a_resume_whose_manager_is_killed_while_it_starts_says_so_in_one_line(nni_home):
    assert nni_home.create(nni_home.config("--sleep 60")).returncode == 0
    assert autoprune(nni_home, "stop", nni_home.id).returncode == 0
    resume = start(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    (manager,) = wait_until(nni_home.managers, what="a manager")
    manager.kill()
    assert resume.wait(40) == 1
    assert re.fullmatch(r"autoprune: NNI's manager .*; see .*\n", said(nni_home))


@pytest.mark.slow
def test_a_search_whose_time_is_over_before_a_candidate_ends_says_so_and_goes_on_with_more(nni_home):
    config = nni_home.config("--first 100 --measures 1", maxExperimentDuration="1h", maxTrialNumber=2)
    assert nni_home.create(config).returncode == 0
    running_trial(nni_home)
    shorter = {"params": {"maxExperimentDuration": "1s"}}
    assert nni_home.api("experiment?update_type=MAX_EXEC_DURATION", "PUT", json=shorter).ok
    watch = start(nni_home, "watch", nni_home.id)
    assert watch.wait(60) == 1
    assert "the time allowed, 1s, was over; go on with `autoprune resume" in said(nni_home).replace("\n", " ")
    assert "out of time" in autoprune(nni_home, "list").stdout
    nni_home.stop()
    assert "out of time" in autoprune(nni_home, "list").stdout
    (trial,) = load_experiment(nni_home.folder).trials
    assert trial.status == "EARLY_STOPPED"

    refused = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--duration" in refused.stderr
    resumed = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port, "--duration", "30s")
    assert resumed.returncode == 0, resumed.stderr
    assert len(load_experiment(nni_home.folder).candidates) == 1
    assert listed(nni_home)[2] == "done"


@pytest.mark.slow
def test_a_run_whose_time_is_over_before_a_candidate_ends_shows_what_there_is(nni_home, digits):  # noqa: F811
    (nni_home.home / "quick.py").write_text(
        TASK + "task = replace(task, recovery=replace(task.recovery, steps=10**9))\n"
    )
    space = {"schedule": {"_type": "choice", "_value": ["one_shot"]}, "sparsity": {"_type": "choice", "_value": [0.5]}}
    config = digits(trial=f"{QUICK} --no-warm-start", searchSpace=space, maxExperimentDuration="15s")
    done = call(nni_home, "autoprune", "run", config, "--port", nni_home.port)
    assert done.returncode == 1
    assert "the time allowed, 15s, was over" in done.stderr
    assert "Traceback" not in done.stderr
    assert nothing_is_left(nni_home)
