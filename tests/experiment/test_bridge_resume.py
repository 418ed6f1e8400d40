"""After ``kill -9`` of its manager, an experiment resumes at once, and goes on where it stood."""

from conftest import wait_until


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


def test_without_the_bridge_the_tuner_outlives_its_manager_and_numbers_are_given_twice(nni_home):
    interrupt_the_first_of_four(nni_home, without="dispatcher,poll")
    orphans = nni_home.dispatchers()
    assert orphans
    for process in orphans:  # they would disturb what comes
        process.kill()
    assert nni_home.resume(without="sequence,poll").returncode == 0
    wait_until(lambda: len(nni_home.trials()) == 6, what="the sixth trial")
    assert len(nni_home.trials_by_number()) < 6
