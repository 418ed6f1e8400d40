"""NNI's manager is open to every machine, every web page and every pickle. With the bridge it is not."""

import base64
import http.client
import os
import pickle

import pytest
from conftest import wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def addresses(nni_home):
    (manager,) = nni_home.managers()
    return {connection.laddr.ip for connection in manager.net_connections("inet") if connection.status == "LISTEN"}


def ask(nni_home, path="/api/v1/nni/check-status", address="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(address, nni_home.port, timeout=20)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read()


def climb_to_secret(nni_home):
    (nni_home.home / "secret.txt").write_text("secret")
    trial = next(iter(nni_home.trials()))
    return f"/api/v1/nni/trial-file/{trial}/{'..%2f' * 6}secret.txt"


def open_websocket(nni_home, origin):
    with connect(f"ws://127.0.0.1:{nni_home.port}/tuner-of-nobody", origin=origin, proxy=None):
        pass


def send_pickles(nni_home):
    """Send a pickle by each of the three ways that run code; return the statuses and the file that it would create."""
    trace = nni_home.home / "trace"
    pickled = {"__nni_type__": "bytes:" + base64.b64encode(pickle.dumps(Payload(trace))).decode()}
    space = {"params": {"searchSpace": {"x": pickled}}}
    answers = [
        nni_home.api("trial-jobs", "POST", json={"x": pickled}),
        nni_home.api("experiment/import-data", "POST", json=[{"parameter": {"x": 0.5}, "value": pickled}]),
        nni_home.api("experiment?update_type=SEARCH_SPACE", "PUT", json=space),
    ]
    return [answer.status_code for answer in answers], trace


def assert_closed(nni_home):
    assert addresses(nni_home) == {"127.0.0.1"}
    own = f"localhost:{nni_home.port}"
    assert ask(nni_home, Host=own, Origin=f"http://{own}")[0] == 200
    assert ask(nni_home, Host="localhost:1234")[0] == 200  # through somebody's ssh tunnel
    assert ask(nni_home, Host="evil.example")[0] == 403
    assert ask(nni_home, Host=own, Origin="http://evil.example")[0] == 403
    with pytest.raises(InvalidStatus, match="403"):
        open_websocket(nni_home, origin="http://evil.example")
    assert ask(nni_home, climb_to_secret(nni_home))[0] == 400
    statuses, trace = send_pickles(nni_home)
    assert statuses == [400, 400, 400]
    assert not trace.exists()


def test_create_resume_and_view_are_closed(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=1)).returncode == 0
    nni_home.wait_for_status("DONE")
    assert_closed(nni_home)
    nni_home.stop()

    assert nni_home.resume().returncode == 0
    assert_closed(nni_home)
    nni_home.stop()

    assert nni_home.nnictl("view", nni_home.id, "--port", nni_home.port).returncode == 0
    nni_home.wait_for_status("VIEWED")
    assert_closed(nni_home)


def test_an_experiment_started_and_stopped_from_python_is_closed(nni_home):
    config = nni_home.config(maxTrialNumber=1)
    load = "from nni.experiment.config import ExperimentConfig; from autoprune.experiment import bridge"
    experiment = nni_home.python(
        f"{load}; print(bridge.start(ExperimentConfig.load({str(config)!r}), {nni_home.port}))"
    ).split()[-1]
    assert experiment == nni_home.id
    nni_home.wait_for_status("DONE")
    assert_closed(nni_home)
    nni_home.python(f"{load}; bridge.stop({experiment!r})")
    assert not nni_home.processes()


def test_pickles_that_reach_the_tuner_stay_plain_data(nni_home):
    assert nni_home.create(nni_home.config("--sleep 9"), without="no_pickle").returncode == 0
    statuses, trace = send_pickles(nni_home)
    assert statuses == [200, 200, 200]
    nni_home.wait_for_status("ERROR")  # that search space is none
    assert not trace.exists()


def test_without_the_bridge_the_manager_is_open_and_runs_what_it_is_sent(nni_home):
    config = nni_home.config("--sleep 9", maxTrialNumber=1)
    assert nni_home.create(config, without="loopback,no_pickle,dispatcher").returncode == 0
    wait_until(nni_home.trials, what="a trial")
    assert addresses(nni_home) == {"::"}
    assert ask(nni_home, Host="evil.example")[0] == 200
    assert ask(nni_home, Origin="http://evil.example")[0] == 200
    open_websocket(nni_home, origin="http://evil.example")
    assert ask(nni_home, climb_to_secret(nni_home)) == (200, b"secret")
    _, trace = send_pickles(nni_home)
    wait_until(trace.exists, what="the pickle's trace")


def test_an_address_opened_on_purpose_is_served_beside_loopback(nni_home):
    config = nni_home.config(maxTrialNumber=1)
    assert nni_home.create(config, AUTOPRUNE_BIND="127.0.0.2").returncode == 0
    assert addresses(nni_home) == {"127.0.0.1", "127.0.0.2"}
    assert ask(nni_home, address="127.0.0.2")[0] == 200
    assert ask(nni_home, address="127.0.0.2", Host="evil.example")[0] == 403
    nni_home.wait_for_status("DONE")
