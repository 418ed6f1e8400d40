"""NNI starts experiments whose tuner cannot work, and hangs when a tuner fails. With the bridge both end aloud."""

import socket

import pytest
from conftest import wait_until
from nni.experiment.config import ExperimentConfig

from autoprune.errors import UserError
from autoprune.nni import algorithms, bridge

FAILS_AT_START = {
    "wrong class": (
        {"name": "Custum"},
        "",
        "tuner my_tuner.Custum: no class Custum in module my_tuner; did you mean Custom?",
    ),
    "wrong argument": ({"depth": 3}, "", "tuner my_tuner.Custom: RandomTuner.__init__() got an unexpected keyword"),
    "exception in __init__": (
        {},
        "def __init__(self): raise ValueError('no\\nluck')",
        "tuner my_tuner.Custom: ValueError: no luck",
    ),
    "exception in update_search_space": (
        {},
        "def update_search_space(self, space): raise KeyError('groups')",
        "tuner my_tuner.Custom: update_search_space() raised KeyError: 'groups'",
    ),
    "exception in generate_parameters": (
        {},
        "def generate_parameters(self, *_, **__): return 1 / 0",
        "tuner my_tuner.Custom: generate_parameters() raised ZeroDivisionError: division by zero",
    ),
}
FAILS_LATER = "def receive_trial_result(self, *_, **__): return 1 / 0"
REASON = "tuner my_tuner.Custom: receive_trial_result() raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize("arguments, body, reason", FAILS_AT_START.values(), ids=FAILS_AT_START)
def test_a_tuner_that_cannot_start_fails_the_command_in_one_line(nni_home, arguments, body, reason):
    created = nni_home.create(nni_home.config(tuner=nni_home.tuner(body, **arguments)))
    assert created.returncode == 1
    (line,) = created.stderr.splitlines()
    assert line.startswith(f"autoprune: the tuner failed: {reason}")
    assert (nni_home.log / "tuner_error.txt").read_text().startswith(reason)
    assert not nni_home.processes()


@pytest.mark.slow
def test_without_the_bridge_an_experiment_with_a_wrong_tuner_is_reported_as_started(nni_home):
    created = nni_home.create(nni_home.config(tuner=nni_home.tuner("", depth=3)), without="dispatcher")
    assert created.returncode == 0
    assert "RandomTuner.__init__() got an unexpected keyword" not in created.stderr + created.stdout


def test_a_tuner_that_fails_later_ends_the_experiment_with_its_reason(nni_home):
    assert nni_home.create(nni_home.config("--sleep 2", tuner=nni_home.tuner(FAILS_LATER))).returncode == 0
    assert nni_home.wait_for_status("ERROR")["errors"] == [REASON]
    assert (nni_home.log / "tuner_error.txt").read_text() == REASON + "\n"
    assert "Traceback" in (nni_home.log / "dispatcher.log").read_text()
    wait_until(lambda: not nni_home.dispatchers(), what="the dispatcher's end")
    nni_home.stop()


def test_in_the_foreground_a_tuner_that_fails_later_fails_the_command(nni_home):
    created = nni_home.create(nni_home.config("--sleep 2", tuner=nni_home.tuner(FAILS_LATER)), "--foreground")
    assert created.returncode == 1
    assert f"autoprune: the tuner failed: {REASON}" in created.stderr.splitlines()


@pytest.mark.slow
def test_without_the_bridge_a_tuner_that_fails_later_hangs_the_experiment(nni_home):
    config = nni_home.config("--sleep 2", tuner=nni_home.tuner(FAILS_LATER))
    assert nni_home.create(config, without="dispatcher").returncode == 0
    log = nni_home.log / "dispatcher.log"
    wait_until(lambda: log.exists() and "ZeroDivisionError" in log.read_text(), what="the exception")
    assert nni_home.status() == {"status": "RUNNING", "errors": [], "paused": False}
    assert nni_home.dispatchers()


@pytest.mark.slow
def test_a_tuner_may_take_longer_than_ten_seconds_to_start_and_its_death_is_noticed(nni_home):
    tuner = nni_home.tuner("def __init__(self):\n    super().__init__()\n    time.sleep(10.5)")
    assert nni_home.create(nni_home.config("--sleep 20", tuner=tuner)).returncode == 0
    assert nni_home.status() == {"status": "RUNNING", "errors": [], "tuner": "ready", "paused": False}
    for process in nni_home.dispatchers():
        assert "NODE_OPTIONS" not in process.environ()  # the preload is the manager's alone
        process.kill()
    (error,) = nni_home.wait_for_status("ERROR", seconds=5)["errors"]
    assert error.startswith("the tuner process died")


def test_a_port_in_use_is_one_line_and_nothing_starts(nni_home):
    with socket.create_server(("127.0.0.1", nni_home.port)):
        created = nni_home.create(nni_home.config())
    assert created.returncode == 2
    assert created.stderr == f"autoprune: port {nni_home.port} is in use: choose another one with --port\n"
    assert not nni_home.processes()


def test_from_python_a_port_in_use_is_a_user_error(nni_home):
    config = ExperimentConfig.load(nni_home.config(experimentWorkingDirectory=str(nni_home.home)))
    with (
        socket.create_server(("127.0.0.1", nni_home.port)),
        pytest.raises(UserError, match=f"port {nni_home.port} is in use"),
    ):
        bridge.start(config, nni_home.port)


@pytest.mark.parametrize(
    "config, reason",
    [
        ({"name": "TEP"}, "tuner TEP: no built-in tuner of this name; did you mean TPE?"),
        ({"className": "nowhere.T"}, "tuner nowhere.T: cannot import module 'nowhere': ModuleNotFoundError: No module"),
        ({"name": "Random", "classArgs": {"sed": 1}}, "tuner Random: RandomTuner.__init__() got an unexpected keyword"),
        ({"className": "os.T", "codeDirectory": "/nowhere"}, "tuner os.T: codeDirectory /nowhere is not a directory"),
    ],
)
def test_a_tuner_that_cannot_be_made_says_why(config, reason):
    with pytest.raises(UserError) as raised:
        algorithms.create(config, "tuner")
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"trialConcurrency": 0}, "the config: NNI refuses it: trial_concurrency > 0 does not hold"),
        ({"maxTrialNumber": "many"}, "the config: ExperimentConfig: type of max_trial_number ('many')"),
    ],
)
def test_a_config_that_nni_refuses_is_one_line_that_says_why(nni_home, changes, reason):
    created = nni_home.create(nni_home.config(**changes))
    assert created.returncode == 2
    (line,) = created.stderr.splitlines()
    assert line.startswith(f"autoprune: {reason}")
