"""A trial that is stopped on purpose, by an assessor or by a person, is not one that failed."""

import pytest
from conftest import wait_until

from autoprune.results.experiment import RUNNING

ASSESSOR = """
from nni.assessor import Assessor, AssessResult

class Severe(Assessor):
    def assess_trial(self, trial_job_id, trial_history):
        return AssessResult.Bad
"""


def status_of_a_trial_that_an_assessor_stops(nni_home, without="") -> str:
    (nni_home.home / "severe.py").write_text(ASSESSOR)
    assessor = {"className": "severe.Severe", "codeDirectory": str(nni_home.home)}
    config = nni_home.config("--report 1 --sleep 60", assessor=assessor, maxTrialNumber=1)
    created = nni_home.create(config, without=without)
    assert created.returncode == 0, created.stdout + created.stderr
    return end_of_the_first(nni_home)


def end_of_the_first(nni_home) -> str:
    return wait_until(
        lambda: (all_ := nni_home.trials_by_number()) and all_[0]["status"] not in RUNNING and all_[0]["status"],
        what="the trial's end",
    )


def test_a_trial_that_an_assessor_stops_is_stopped_early(nni_home):
    assert status_of_a_trial_that_an_assessor_stops(nni_home) == "EARLY_STOPPED"


@pytest.mark.slow
def test_without_the_bridge_it_counts_as_failed(nni_home):
    assert status_of_a_trial_that_an_assessor_stops(nni_home, without="early_stop") == "FAILED"


def test_a_trial_that_a_person_stops_is_cancelled(nni_home):
    assert nni_home.create(nni_home.config("--sleep 60", maxTrialNumber=1)).returncode == 0
    (trial,) = wait_until(lambda: [id_ for id_, t in nni_home.trials().items() if t["status"] == "RUNNING"])
    wait_until(lambda: list(nni_home.folder.glob("environments/*/trials/*/ran.json")))
    assert nni_home.api(f"trial-jobs/{trial}", "DELETE").ok
    assert end_of_the_first(nni_home) == "USER_CANCELED"
