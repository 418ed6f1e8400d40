"""After ``kill -9`` of its manager, an experiment resumes at once, and goes on where it stood."""

from conftest import wait_until


def kill_manager(nni_home):
    (manager,) = nni_home.managers()
    manager.kill()
    manager.wait(10)  # nnictl takes a zombie that nobody has reaped yet for a running manager


def finished(nni_home, count):
    return wait_until(
        lambda: sum(trial["status"] == "SUCCEEDED" for trial in nni_home.trials().values()) >= count,
        what=f"{count} finished trials",
    )


def test_an_experiment_resumes_right_after_its_manager_was_killed(nni_home):
    config = nni_home.config("--sleep 0.7", trialConcurrency=2, maxTrialNumber=8)
    assert nni_home.create(config).returncode == 0
    finished(nni_home, 2)
    before = nni_home.parameters_in_api()
    kill_manager(nni_home)
    wait_until(lambda: not nni_home.dispatchers(), seconds=2, what="the tuner's end")
    resumed = nni_home.resume()
    assert resumed.returncode == 0, resumed.stderr

    assert nni_home.wait_for_status("DONE")["errors"] == []
    shown = nni_home.parameters_in_api()
    assert len(shown) == 8
    assert {id_: record["parameters"] for id_, record in before.items()}.items() <= {
        id_: record["parameters"] for id_, record in shown.items()
    }.items()
    assert {id_: record["parameters"] for id_, record in nni_home.parameters_run().items()} == {
        id_: record["parameters"] for id_, record in shown.items()
    }
    assert sorted(trial["sequenceId"] for trial in nni_home.trials().values()) == list(range(8))
    assert all(len(trial["finalMetricData"]) == 1 for trial in nni_home.trials().values())


def test_without_the_bridge_the_tuner_outlives_its_manager(nni_home):
    assert nni_home.create(nni_home.config("--sleep 20"), without="dispatcher").returncode == 0
    wait_until(nni_home.trials, what="a trial")
    kill_manager(nni_home)
    try:
        wait_until(lambda: not nni_home.dispatchers(), seconds=4)
    except AssertionError:
        return
    raise AssertionError("NNI's dispatcher ended")


def test_a_resumed_experiment_goes_on_counting_its_trials(nni_home):
    assert sequence_after_resume(nni_home) == [0, 1, 2]


def test_without_the_bridge_a_resumed_experiment_gives_a_number_twice(nni_home):
    assert sequence_after_resume(nni_home, without="sequence") == [0, 1, 1]


def sequence_after_resume(nni_home, without=""):
    assert nni_home.create(nni_home.config(maxTrialNumber=2)).returncode == 0
    nni_home.wait_for_status("DONE")
    profile = nni_home.api("experiment").json()
    profile["params"]["maxTrialNumber"] = 3
    assert nni_home.api("experiment?update_type=MAX_TRIAL_NUM", "PUT", json=profile).ok
    nni_home.stop()
    assert nni_home.resume(without=without).returncode == 0
    wait_until(lambda: len(nni_home.trials()) == 3, what="the third trial")
    return sorted(trial["sequenceId"] for trial in nni_home.trials().values())
