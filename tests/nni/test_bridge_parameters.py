"""NNI hands parameters to whichever trial asks first (its issues #5689, #5693, #5726). The bridge does not."""

import pytest


def run(nni_home, trials, without=""):
    config = nni_home.config("--die-each 7", trialConcurrency=4, maxTrialNumber=trials)
    created = nni_home.create(config, without=without)
    assert created.returncode == 0, created.stderr
    nni_home.wait_for_status("DONE", seconds=120)
    return nni_home.parameters_run()


@pytest.mark.slow
def test_each_of_100_parallel_trials_runs_the_parameters_that_nni_shows_for_it(nni_home):
    ran = run(nni_home, 100)
    shown, stored = nni_home.parameters_in_api(), nni_home.parameters_in_database()
    assert len(shown) == 100
    assert stored == shown
    assert len(ran) == 85  # the others died before they asked
    assert ran == {id_: shown[id_] for id_ in ran}


@pytest.mark.slow
def test_without_the_bridge_nni_shows_parameters_that_a_trial_did_not_run(nni_home):
    ran = run(nni_home, 8, without="parameters")  # the second one dies, and the third takes its parameters
    shown = nni_home.parameters_in_api()
    assert any(ran[id_] != shown[id_] for id_ in ran)
