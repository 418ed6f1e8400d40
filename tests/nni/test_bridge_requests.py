"""No request ends NNI's manager or its search, nor writes what it brought."""

import json
import random
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import Nni, free_port, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

TOKEN = "a-token-of-the-test-only"


@pytest.fixture(scope="module")
def nni_home(tmp_path_factory):
    """A search that runs for long, also at an address that was opened; no test may end it."""
    nni = Nni(tmp_path_factory.mktemp("home"), free_port())
    config = nni.config("--sleep 200", maxTrialNumber=9)
    assert nni.create(config, AUTOPRUNE_BIND="127.0.0.2", AUTOPRUNE_TOKEN=TOKEN).returncode == 0
    yield nni
    nni.end()


def send(port: int, content: bytes, address: str = "127.0.0.1", limit: float = 5) -> bytes:
    """Send bytes as they are, and return what comes back until the end, or a silence of ``limit`` seconds."""
    with socket.create_connection((address, port), timeout=limit) as connection:
        answer = b""
        try:
            connection.sendall(content)
            while chunk := connection.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionError):
            pass
    return answer


def get(target: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_a_token_is_verified_before_it_becomes_a_cookie(nni_home):
    page, shown = "Accept: text/html", f"Cookie: autoprune_{nni_home.port}={TOKEN}"

    def open_page(target, *headers):
        return send(nni_home.port, get(target, page, *headers, host="127.0.0.2"), "127.0.0.2")

    given = open_page(f"/?token={TOKEN}")
    assert status_of(given) == 303
    assert f"Set-Cookie: autoprune_{nni_home.port}={TOKEN}; Path=/; HttpOnly; SameSite=Lax\r\n".encode() in given
    for other in ("%E2%98%83", f"{TOKEN};%20Domain=example", f"{TOKEN}%0d%0aX-Injected:%201", "another-token", ""):
        for answer in (open_page(f"/?token={other}", shown), open_page(f"/pareto/?token={other}", shown)):
            assert status_of(answer) == 200  # the cookie is good, whatever else comes along
            assert b"set-cookie" not in answer.lower()
        assert status_of(open_page(f"/?token={other}")) == 401
    assert nni_home.status()["status"] == "RUNNING"


METHODS = [*["GET"] * 8, "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "BREW"]
PATHS = [
    "/", "/pareto/", "/pareto/page.mjs", "/logs/nnimanager.log", "/logs/", "/tuner", "/tuner/x", "/platform/local",
    "/env/local-env/nobody", "/netron/x", "/autoprune/webui.mjs", "http://127.0.0.1/", "*", "//", "/static/",
    *[f"/api/v1/nni/{name}" for name in (
        "experiment?update_type=SEARCH_SPACE", "experiment?update_type=MAX_EXEC_DURATION", "trial-jobs", "check-status",
        "experiment?update_type=TRIAL_CONCURRENCY", "experiment/cluster-metadata", "experiment/import-data",
        "trial-jobs/x", "metric-data/x", "metric-data-range/a/b", "trial-file/x/y", "tensorboard/x", "version",
        "tensorboard-tasks", "trial-jobs/constructor", "trial-file/__proto__/trial.log", "experiment",
    )],
    *[f"/api/v1/autoprune/{name}" for name in ("page", "names", "choice", "choice?rule=knee", "choice?rule[]=1")],
    "/api/v1/autoprune/exports", "/api/v1/autoprune/exports/x/y",
]  # fmt: skip
TAILS = ["", "", "", "?token=%E2%98%83", "?a=%", "/%00", "/%c0%af", "%", "/..;/x", "?token[]=1&__proto__[x]=1", "/\xff"]
HEADERS = [
    "Accept: text/html", "Connection: close", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Content-Type: application/json", "Content-Type: a/b; charset=x",
    "Cookie: autoprune_1=%; ==; a", "Authorization: Bearer \xff", "Origin: null", "Expect: 100-continue", "Expect: x",
    "Transfer-Encoding: chunked", "Content-Length: 3", "Content-Length: -1", "If-None-Match: *", "Range: bytes=9-1",
    "Content-Encoding: gzip", "Content-Encoding: x", "Host: [::1", "X: " + "y" * 20000, "\0: x", "no colon",
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b'{"params": null}', b'{"params": {"trialConcurrency": []}}', b'{"trial": {}}', b"\xff",
    b'{"type": "request_parameter"}', b'{"type": "metric", "metric": "x"}', b'[{"parameter": 1}]', b'{"trials": 1}',
    b"[" * 5000 + b"]" * 5000, b"\x81\xfe\x00\x01", b"5\r\n{\"a\":\r\n0\r\n\r\n", b"ffffffffff\r\n", b'{"value": 0}',
]  # fmt: skip


def any_request(rng: random.Random) -> bytes:
    """Return a request that is more or less wrong, but none that rightly ends the experiment."""
    method, path = rng.choice(METHODS), rng.choice(PATHS) + rng.choice(TAILS)
    if method == "DELETE" and path.partition("?")[0].rstrip("/") == "/api/v1/nni/experiment":
        method = "GET"
    headers = rng.sample(HEADERS, rng.randrange(6))
    body = rng.choice(BODIES)
    if rng.random() < 0.5:
        headers += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    if rng.random() < 0.3:  # a WebSocket, and bytes that are no frames
        method, headers = "GET", [*headers, *HEADERS[2:6]]
    host = rng.choice(["127.0.0.1", "127.0.0.1", "127.0.0.1", "localhost:1", "x", ""])
    head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")
    return (head + body)[: rng.choice([None, None, None, None, len(head) // 2])]


def test_no_request_ends_the_manager(nni_home):
    (manager,) = nni_home.managers()
    rng = random.Random(0)
    content = [any_request(rng) for _ in range(400)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: send(nni_home.port, each, limit=0.2), content))
    assert len({status_of(answer) for answer in answers}) > 5
    assert not any(b"at /" in answer or b".js:" in answer for answer in answers if status_of(answer) >= 400)
    assert manager.is_running()
    assert nni_home.status()["status"] == "RUNNING"
    assert nni_home.api("trial-jobs").status_code == 200


def test_an_upgrade_that_is_broken_off_ends_nothing(nni_home):
    upgrade = get("/tuner", *HEADERS[2:6]).replace(b"Connection: close\r\n", b"")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", nni_home.port), timeout=5) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no goodbye
            connection.sendall(upgrade + b"\xff" * 4096)
    assert nni_home.status()["status"] == "RUNNING"


def test_what_would_end_the_search_is_refused_with_a_reason(nni_home):
    change = "experiment?update_type="
    for method, path, body, status in (
        ("PUT", "experiment/cluster-metadata", {"x": 1}, 404),
        ("POST", "experiment", {}, 500),
        ("PUT", f"{change}MAX_EXEC_DURATION", {"params": {"maxExperimentDuration": "soon"}}, 400),
        ("PUT", f"{change}MAX_EXEC_DURATION", {"params": {"maxExperimentDuration": "5"}}, 400),
        ("PUT", f"{change}TRIAL_CONCURRENCY", {"params": {"trialConcurrency": "x"}}, 400),
        ("PUT", f"{change}MAX_TRIAL_NUM", {"params": {"maxTrialNumber": 0}}, 400),
        ("PUT", f"{change}SEARCH_SPACE", {"params": {"searchSpace": []}}, 400),
        ("PUT", f"{change}constructor", {"params": {}}, 400),
        ("PUT", "experiment", {}, 400),
        ("POST", "trial-jobs", [], 400),
        ("POST", "experiment/import-data", {"x": 1}, 400),
        ("POST", "experiment/import-data", [{"parameter": []}], 400),
    ):
        answer = nni_home.api(path, method, json=body)
        assert (path, answer.status_code) == (path, status)
        assert answer.json()["error"]
    answer = nni_home.api("trial-jobs", "POST", data="{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, "JSON" in answer.json()["error"]) == (400, True)
    assert nni_home.api("trial-jobs", "POST", data="x=1").status_code == 400
    deep = json.loads("[" * 900 + "]" * 900)
    assert nni_home.api("trial-jobs", "POST", json={"x": deep}).status_code == 400
    trial = next(iter(wait_until(nni_home.trials, what="a trial")))
    environment = f"http://127.0.0.1:{nni_home.port}/env/local-env/{trial}"
    for metric in ("x", "null", "{}", json.dumps({"trial_job_id": trial, "type": "FINAL", "value": "{"})):
        assert requests.put(environment, json={"type": "metric", "metric": metric}, timeout=20).status_code == 200
    nobody = f"http://127.0.0.1:{nni_home.port}/env/local-env/constructor"
    assert requests.put(nobody, json={"type": "request_parameter"}, timeout=20).status_code == 200
    assert nni_home.status()["status"] == "RUNNING"
    assert nni_home.dispatchers()


def test_a_body_has_at_most_a_megabyte(nni_home):
    assert nni_home.api("trial-jobs", "POST", json={"x": "y" * 900_000}).status_code == 200
    for size in (1_100_000, 20_000_000):
        answer = nni_home.api("trial-jobs", "POST", json={"x": "y" * size})
        assert (answer.status_code, list(answer.json())) == (413, ["error"])
    with sqlite3.connect(nni_home.folder / "db" / "nni.sqlite") as database:
        ((largest,),) = database.execute("select max(length(data)) from TrialJobEvent where event = 'ADD_CUSTOMIZED'")
    assert largest < 1_000_000


@pytest.mark.parametrize("path", ["tuner", "tuner/x", "TUNER/", "tuner?secret=", "tuner?secret=x", "elsewhere"])
def test_nobody_else_speaks_as_the_tuner(nni_home, path):
    """Without an ``Origin``, as a program sends it."""
    url = f"ws://127.0.0.1:{nni_home.port}/{path}"
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, proxy=None) as stranger:
        stranger.send(json.dumps({"type": "ER", "content": "the stranger says that it failed"}))
        stranger.recv(timeout=5)
    time.sleep(0.2)
    assert nni_home.status()["status"] == "RUNNING"
    assert nni_home.dispatchers()


def test_the_tuners_secret_is_in_no_log_and_no_trial_has_it(nni_home):
    (tuner,) = nni_home.dispatchers()[-1:]
    secret = tuner.environ()["NNI_TUNER_COMMAND_CHANNEL"].partition("secret=")[2]
    assert len(secret) >= 32
    logs = "".join(file.read_text() for file in nni_home.log.iterdir() if file.is_file())
    assert secret not in logs
    trials = wait_until(lambda: nni_home.called("light_trial.py"), what="a trial")
    assert not any(secret in str(trial.environ()) for trial in trials)
