"""After ``kill -9`` of its manager, an experiment resumes at once, and goes on where it stood."""

from conftest import wait_until


def kill_manager(nni_home):
    (manager,) = nni_home.managers()
    manager.kill()
    return manager


def resume(nni_home, killed_manager, without=""):
    killed_manager.wait(10)  # nnictl takes a zombie that nobody has reaped yet for a running manager
    resumed = nni_home.resume(without=without)
    assert resumed.returncode == 0, resumed.stderr


def finished(nni_home):
    return [trial for trial in nni_home.trials().values() if trial["status"] == "SUCCEEDED"]


def allow_trials(nni_home, number):
    profile = nni_home.api("experiment").json()
    profile["params"]["maxTrialNumber"] = number
    assert nni_home.api("experiment?update_type=MAX_TRIAL_NUM", "PUT", json=profile).ok


def sequence(nni_home):
    return sorted(trial["sequenceId"] for trial in nni_home.trials().values())


def parameters(records):
    return {id_: record["parameters"] for id_, record in records.items()}


def test_an_experiment_resumes_right_after_its_manager_was_killed(nni_home):
    config = nni_home.config("--sleep 0.7", trialConcurrency=2, maxTrialNumber=6)
    assert nni_home.create(config).returncode == 0
    wait_until(lambda: len(finished(nni_home)) >= 2, what="two finished trials")
    before = parameters(nni_home.parameters_in_api())
    killed = kill_manager(nni_home)
    wait_until(lambda: not nni_home.dispatchers(), seconds=2, what="the tuner's end")
    resume(nni_home, killed)

    assert nni_home.wait_for_status("DONE")["errors"] == []
    after = parameters(nni_home.parameters_in_api())
    assert before.items() <= after.items()
    assert after == parameters(nni_home.parameters_run())
    assert sequence(nni_home) == [0, 1, 2, 3, 4, 5]
    assert all(len(trial["finalMetricData"]) == 1 for trial in nni_home.trials().values())

    allow_trials(nni_home, 7)
    nni_home.stop()  # now none is interrupted, and NNI would begin again at 1
    assert nni_home.resume().returncode == 0
    wait_until(lambda: len(nni_home.trials()) == 7, what="the seventh trial")
    assert sequence(nni_home) == [0, 1, 2, 3, 4, 5, 6]


def test_without_the_bridge_the_tuner_outlives_its_manager_and_numbers_are_given_twice(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=2), without="dispatcher").returncode == 0
    nni_home.wait_for_status("DONE")
    allow_trials(nni_home, 3)
    killed = kill_manager(nni_home)
    killed.wait(10)
    orphans = nni_home.dispatchers()
    assert orphans
    for process in orphans:
        process.kill()
    resume(nni_home, killed, without="sequence")
    wait_until(lambda: len(nni_home.trials()) == 3, what="the third trial")
    assert sequence(nni_home) == [0, 1, 1]
