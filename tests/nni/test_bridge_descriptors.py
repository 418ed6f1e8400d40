"""NNI's manager keeps two files open for every trial that it ever ran. With the bridge it does not."""

import os

import pytest
from conftest import wait_until


def descriptors_of_outputs(nni_home):
    (manager,) = nni_home.managers()
    return [file.path for file in manager.open_files() if file.path.endswith(("trial.stdout", "trial.stderr"))]


def wait_for_trials(nni_home, number, seconds):
    def ended():
        return nni_home.api("check-status").json()["status"] == "DONE"

    wait_until(ended, seconds, f"the end of {number} trials")
    assert [trial["status"] for trial in nni_home.trials().values()] == ["SUCCEEDED"] * number


def test_the_descriptors_of_a_finished_trial_are_closed(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=12)).returncode == 0
    (manager,) = nni_home.managers()
    before = manager.num_fds()
    wait_for_trials(nni_home, 12, 60)
    assert manager.num_fds() <= before + 4  # a connection that is kept alive, a log
    assert descriptors_of_outputs(nni_home) == []


@pytest.mark.slow
def test_without_the_bridge_two_descriptors_of_each_trial_stay_open(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=3), without="descriptors").returncode == 0
    wait_for_trials(nni_home, 3, 60)
    assert len(descriptors_of_outputs(nni_home)) == 6


MANY = int(os.environ.get("AUTOPRUNE_TEST_TRIALS", 400))
"""`make test-many` runs 5,000."""


@pytest.mark.slow
@pytest.mark.timeout(100 + 2 * MANY)
def test_many_trials_pass_where_a_process_may_open_two_hundred_files(nni_home):
    config = nni_home.config(maxTrialNumber=MANY, trialConcurrency=2)
    start = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)); "
        "from nni.experiment.config import ExperimentConfig; from autoprune.nni import bridge; "
        f"print(bridge.start(ExperimentConfig.load({str(config)!r}), {nni_home.port}))"
    )
    nni_home.python(start)
    wait_for_trials(nni_home, MANY, 2 * MANY)
    (manager,) = nni_home.managers()
    assert manager.num_fds() < 60
