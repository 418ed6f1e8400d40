"""Experiments whose trials run in workers, with NNI's manager: how trials, workers and all of it end."""

import os
import signal

import pytest
from conftest import wait_until
from test_run import QUICK, TASK, digits  # noqa: F401  (a fixture)

from autoprune.nni.database import load_experiment

pytestmark = pytest.mark.slow
BARE = f"{QUICK} --no-baselines --no-warm-start"


HANGING = """
import os, time
from pathlib import Path
from torch.nn import functional

def loss(outputs, batch):
    while "NNI_TRIAL_JOB_ID" in os.environ and Path("hang").exists():
        Path("hung").write_text(str(os.getpid()))
        time.sleep(0.05)
    return functional.cross_entropy(outputs, batch[1])

task = replace(task, loss=loss)
"""


def workers(nni_home):
    return nni_home.called("spawn_main")


def running(nni_home) -> str:
    """Return the id of the trial that says how far it has come."""
    return next((note.parent.name for note in nni_home.folder.glob("environments/*/trials/*/progress.txt")), "")


def test_a_killed_worker_fails_its_own_trial_alone_and_nothing_is_left(nni_home, digits):  # noqa: F811
    config = digits(trial=BARE, maxTrialNumber=6, trialConcurrency=2)
    (nni_home.home / "quick.py").write_text(TASK + HANGING)
    (nni_home.home / "hang").touch()
    assert nni_home.create(config, AUTOPRUNE_ENGINE="workers").returncode == 0
    hung = nni_home.home / "hung"
    wait_until(lambda: hung.exists() and hung.read_text(), 90, "a trial at work")
    (nni_home.home / "hang").unlink()
    assert len(workers(nni_home)) <= 2
    os.kill(int(hung.read_text()), signal.SIGKILL)
    nni_home.wait_for_status("DONE", seconds=200)
    trials = load_experiment(nni_home.folder).trials
    assert sorted(trial.status for trial in trials) == ["FAILED", *["SUCCEEDED"] * 5]
    (failed,) = [trial for trial in trials if not trial.succeeded]
    assert failed.reason.startswith("killed by signal 9 (SIGKILL)")
    nni_home.stop()
    wait_until(lambda: not nni_home.processes(), 30, "the end of every process")


def test_a_cancelled_trial_frees_its_worker_and_all_end_with_a_killed_manager(nni_home, digits):  # noqa: F811
    (nni_home.home / "quick.py").write_text(
        TASK + "task = replace(task, recovery=replace(task.recovery, steps=10**9))\n"
    )
    assert nni_home.create(digits(trial=BARE, trialConcurrency=1), AUTOPRUNE_ENGINE="workers").returncode == 0
    first = wait_until(lambda: running(nni_home), 90, "a trial that trains")
    (worker,) = workers(nni_home)
    nni_home.api(f"trial-jobs/{first}", "DELETE")
    wait_until(lambda: running(nni_home) not in ("", first), 90, "another trial that trains")
    assert workers(nni_home) == [worker]
    assert {trial["status"] for trial in nni_home.trials().values()} == {"USER_CANCELED", "RUNNING"}
    for manager in nni_home.managers():
        manager.kill()
    wait_until(lambda: not workers(nni_home) and not nni_home.called("warm_trials"), 30, "the workers' end")
