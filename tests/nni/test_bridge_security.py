"""NNI's manager is open to every machine, every web page and every pickle. With the bridge it is not."""

import base64
import http.client
import os
import pickle
import re
import subprocess
from pathlib import Path

import nni_node
import pytest
import requests
from conftest import TRIAL, wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from autoprune.nni import bridge


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


STARTED = "from autoprune.nni.database import registry; print([each['startTime'] for each in registry().values()])"


def test_create_resume_and_view_are_closed(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=1)).returncode == 0
    nni_home.wait_for_status("DONE")
    assert_closed(nni_home)
    nni_home.stop()

    assert nni_home.resume().returncode == 0
    assert_closed(nni_home)
    nni_home.stop()

    before = nni_home.python(STARTED)
    viewed = nni_home.nnictl("view", nni_home.id, "--port", nni_home.port)
    assert viewed.returncode == 0
    nni_home.wait_for_status("VIEWED")
    assert_closed(nni_home)
    # Others than this machine's own do not answer; and to look at a search is not to start it.
    assert re.findall(r"http://[\d.:]+", viewed.stdout + viewed.stderr) == [f"http://127.0.0.1:{nni_home.port}"]
    assert nni_home.python(STARTED) == before


def test_an_experiment_started_and_stopped_from_python_is_closed(nni_home):
    config = nni_home.config(maxTrialNumber=1)
    load = "from nni.experiment.config import ExperimentConfig; from autoprune.nni import bridge"
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


@pytest.mark.slow
def test_without_the_bridge_the_manager_is_open_and_runs_what_it_is_sent(nni_home):
    config = nni_home.config("--sleep 9", maxTrialNumber=1)
    assert nni_home.create(config, without="loopback,no_pickle,dispatcher,links").returncode == 0
    wait_until(nni_home.trials, what="a trial")
    assert addresses(nni_home) == {"::"}
    assert ask(nni_home, Host="evil.example")[0] == 200
    assert ask(nni_home, Origin="http://evil.example")[0] == 200
    open_websocket(nni_home, origin="http://evil.example")
    assert ask(nni_home, climb_to_secret(nni_home)) == (200, b"secret")
    _, trace = send_pickles(nni_home)
    wait_until(trace.exists, what="the pickle's trace")


def test_an_address_opened_on_purpose_asks_for_the_token_that_was_printed(nni_home):
    config = nni_home.config("--sleep 1", maxTrialNumber=2)
    created = nni_home.create(config, AUTOPRUNE_BIND="127.0.0.2")
    assert created.returncode == 0
    assert addresses(nni_home) == {"127.0.0.1", "127.0.0.2"}
    opened = f"http://127.0.0.2:{nni_home.port}"
    ((url, token),) = re.findall(rf"({opened}/\?token=([\w-]+))\n", created.stdout)
    assert len(token) >= 32
    assert nni_home.dispatchers()
    trials = wait_until(lambda: nni_home.called(TRIAL.name), what="a trial")
    assert not any("AUTOPRUNE_TOKEN" in process.environ() for process in [*nni_home.dispatchers(), *trials])
    logs = "".join(file.read_text() for file in nni_home.log.iterdir() if file.is_file())
    assert token not in logs

    assert ask(nni_home)[0] == 200  # loopback asks for nothing: trials and the tuner use it
    status = f"{opened}/api/v1/nni/check-status"
    for headers in ({}, {"Authorization": f"Bearer {token}x"}, {"Cookie": f"autoprune_{nni_home.port}=x"}):
        assert requests.get(status, headers=headers, timeout=20).status_code == 401
    assert requests.get(status, params={"token": "x"}, timeout=20).status_code == 401
    assert requests.get(f"{opened}/pareto/", timeout=20).status_code == 401
    assert requests.post(f"{opened}/api/v1/autoprune/exports", json={"trial": "x"}, timeout=20).status_code == 401
    with pytest.raises(InvalidStatus, match="401"):
        connect(f"ws://127.0.0.2:{nni_home.port}/tuner", proxy=None).__enter__()
    assert requests.get(status, params={"token": token}, timeout=20).status_code == 200
    assert requests.get(status, headers={"Authorization": f"Bearer {token}"}, timeout=20).status_code == 200
    with pytest.raises(InvalidStatus, match="403"):  # the token opens the page, but makes nobody the tuner
        connect(f"ws://127.0.0.2:{nni_home.port}/tuner?token={token}", proxy=None).__enter__()

    session = requests.Session()  # a browser: the page's address gives it a cookie, and loses the token
    session.headers["Accept"] = "text/html"
    page = session.get(url, timeout=20)
    assert (page.status_code, page.url) == (200, f"{opened}/")
    assert session.get(status, timeout=20).status_code == 200
    elsewhere = session.get(f"{opened}//evil.example/?token={token}", allow_redirects=False, timeout=20)
    assert elsewhere.headers["Location"] == "/evil.example/"
    assert ask(nni_home, address="127.0.0.2", Host="evil.example", Authorization=f"Bearer {token}")[0] == 403
    nni_home.wait_for_status("DONE")


def test_an_opened_address_without_a_token_stays_shut(nni_home):
    """As when the manager is started by something that is not our launcher."""
    script = "const guard = require('./guard.js'); const request = { url: '/?token=', headers: { host: '127.0.0.2' },"
    script += " socket: { localAddress: '127.0.0.2', localPort: 1 } }; console.log(guard.refusal(request)[0])"
    bound = nni_home.environment | {"AUTOPRUNE_BIND": "127.0.0.2"}
    node = Path(nni_node.__path__[0]) / "node"
    folder = bridge.__path__[0]
    done = subprocess.run([node, "-e", script], env=bound, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "401\n"


def test_nothing_of_other_sites_is_served_and_no_page_can_be_framed(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=1)).returncode == 0
    for path in ("/netron", "/netron/index.html", "/NETRON/x"):
        assert ask(nni_home, path)[0] == 404
    for path in ("/", "/oview", "/pareto/"):
        policy = requests.get(f"http://127.0.0.1:{nni_home.port}{path}", timeout=20).headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert re.search(r"default-src '(none|self)'", policy)
        assert "http" not in policy
    for name in ("../guard.js", "..%2fguard.js", "constructor", "index.html", "x"):
        assert ask(nni_home, f"/pareto/{name}")[0] in (400, 404)
        assert ask(nni_home, f"/autoprune/{name}")[0] in (400, 404)
