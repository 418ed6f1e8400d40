"""How trials, tuners and searches end, called by its name: killed, stopped, failed, out of time."""

import signal

import pytest
from conftest import wait_until

from autoprune.experiment.results import load_experiment
from autoprune.experiment.watch import Progress


def running_trial(nni_home):
    """Return the process of the one trial that runs."""
    wait_until(lambda: nni_home.parameters_run(), what="a trial at work")
    (process,) = nni_home.called("light_trial.py")
    return process


def first_ended(nni_home):
    return wait_until(lambda: [t for t in load_experiment(nni_home.folder).trials if t.ended], what="a trial's end")[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_trial_killed_by_a_signal_has_failed_and_says_so(nni_home, number):
    assert nni_home.create(nni_home.config("--sleep 60", maxTrialNumber=1)).returncode == 0
    running_trial(nni_home).send_signal(number)
    trial = first_ended(nni_home)
    assert trial.status == "FAILED"
    assert trial.reason.startswith(f"killed by signal {number.value} ({number.name})")
    assert Progress(load_experiment(nni_home.folder), "", (), 0.0).unhappy == "1 failed"


def test_without_the_bridge_it_counts_as_cancelled(nni_home):
    assert nni_home.create(nni_home.config("--sleep 60", maxTrialNumber=1), without="signals").returncode == 0
    running_trial(nni_home).kill()
    assert first_ended(nni_home).status == "USER_CANCELED"
