"""Real NNI experiments, each with a home, a registration and a port of its own."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import psutil
import pytest
import requests
import yaml
from filelock import FileLock

from autoprune.nni import bridge

TRIAL = Path(__file__).with_name("light_trial.py")
NNICTL = str(Path(sys.executable).with_name("nnictl"))


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs a real Chromium; skipped where there is none")


def wait_until(condition, seconds=90, what="condition"):
    """Return the first true value of ``condition()``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Nni:
    """``nnictl`` in a home of its own, and the one experiment that it runs."""

    def __init__(self, home: Path, port: int):
        self.home = home
        self.port = port
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("NNI", "NODE", "AUTOPRUNE"))}
        self.environment |= {"HOME": str(home), "NNI_CONFIG_DIR": str(home / "nni-config"), "OMP_NUM_THREADS": "1"}
        with mock.patch.dict(os.environ, self.environment):
            bridge.register()

    def python(self, code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def config(self, trial="", **changes) -> Path:
        """Write a config of tiny trials; return its path."""
        config = {
            "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
            "trialCommand": f"{sys.executable} -S -E {TRIAL} {trial}",
            "trialCodeDirectory": str(self.home),
            "trialConcurrency": 1,
            "maxTrialNumber": 3,
            "tuner": {"name": "Random"},
            "trainingService": {"platform": "local"},
        } | changes
        path = self.home / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def tuner(self, body: str, name: str = "Custom", **arguments) -> dict:
        """Write a tuner class with this body; return its section of a config."""
        lines = "\n".join("    " + line for line in body.splitlines())
        base = "from nni.algorithms.hpo.random_tuner import RandomTuner\nimport time\n\n"
        (self.home / "my_tuner.py").write_text(f"{base}class Custom(RandomTuner):\n{lines}\n    pass\n")
        return {"className": f"my_tuner.{name}", "codeDirectory": str(self.home), "classArgs": arguments}

    def nnictl(self, *words, without: str = "", **environment: str) -> subprocess.CompletedProcess:
        environment = self.environment | {"AUTOPRUNE_WITHOUT": without} | environment
        return subprocess.run([NNICTL, *map(str, words)], env=environment, capture_output=True, text=True, timeout=150)

    def create(self, config: Path, *words, **options) -> subprocess.CompletedProcess:
        return self.nnictl("create", "--config", config, "--port", self.port, *words, **options)

    def resume(self, **options) -> subprocess.CompletedProcess:
        return self.nnictl("resume", self.id, "--port", self.port, **options)

    def stop(self) -> None:
        self.api("experiment", "DELETE")
        wait_until(lambda: not self.managers(), what="the manager's end")

    @property
    def folder(self) -> Path:
        return (self.home / "nni-experiments" / "_latest").resolve()

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def api(self, path: str, method: str = "GET", **options) -> requests.Response:
        return requests.request(method, f"http://127.0.0.1:{self.port}/api/v1/nni/{path}", timeout=20, **options)

    def status(self) -> dict:
        return self.api("check-status").json()

    def wait_for_status(self, *statuses: str, seconds: float = 60) -> dict:
        return wait_until(lambda: (s := self.status())["status"] in statuses and s, seconds, f"status {statuses}")

    def trials(self) -> dict[str, dict]:
        """Return the trials of the web API, by id."""
        return {trial["trialJobId"]: trial for trial in self.api("trial-jobs").json() if "trialJobId" in trial}

    def trials_by_number(self) -> dict[int, dict]:
        return {trial["sequenceId"]: trial for trial in self.trials().values()}

    def parameters_in_api(self) -> dict[str, dict]:
        return {id_: json.loads(trial["hyperParameters"][0]) for id_, trial in self.trials().items()}

    def parameters_in_database(self) -> dict[str, dict]:
        with sqlite3.connect(self.folder / "db" / "nni.sqlite") as database:
            query = "select trialJobId, data from TrialJobEvent where trialJobId != '' and data is not null"
            return {id_: json.loads(data) for id_, data in database.execute(query)}

    def parameters_run(self) -> dict[str, dict]:
        """Return what each trial wrote down that it got."""
        records = self.folder.glob("environments/*/trials/*/ran.json")
        return {path.parent.name: json.loads(path.read_text()) for path in records}

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this home, but the test itself."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("HOME") == str(self.home)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def managers(self) -> list[psutil.Process]:
        return self.called("main.js")

    def dispatchers(self) -> list[psutil.Process]:
        return self.called("--exp_params")

    def called(self, word: str) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            try:
                if any(word in argument for argument in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue


@pytest.fixture
def nni_home(tmp_path, port):
    nni = Nni(tmp_path, port)
    yield nni
    nni.end()


@pytest.fixture
def port():
    return free_port()


def free_port() -> int:
    """Return a port that no other test of this machine, here or in a parallel worker, was lately given."""
    ledger = Path(tempfile.gettempdir(), f"autoprune-test-ports-{os.getuid()}")
    with FileLock(f"{ledger}.lock"):
        last = int(ledger.read_text()) if ledger.exists() else 0
        port = last + 2 if 21000 <= last < 31000 else 21000  # NNI may want the next one too
        while in_use(port) or in_use(port + 1):
            port += 2
        ledger.write_text(str(port))
    return port


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
