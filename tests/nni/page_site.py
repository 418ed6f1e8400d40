"""The Pareto page of an experiment's folder, served as the manager serves it, but without a manager, and so at once."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nni_node
import plotly

from autoprune.nni import bridge

NODE = Path(nni_node.__path__[0])
SERVER = Path(__file__).with_name("page_server.js")
PLOTLY = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"


@dataclass
class Site:
    """Where the page is, and what it has commanded: method, path and content of each."""

    url: str
    commands_file: Path

    @property
    def commands(self) -> list[list]:
        return [json.loads(line) for line in self.commands_file.read_text().splitlines() if line.startswith("[")]


@contextmanager
def served(folder: Path, log: Path, status: str = "RUNNING", spent: int = 0, **params):
    """Serve an experiment's page for as long as the context lasts.

    Args:
        spent: the seconds that it has run.
        params: of its config.
    """
    profile = {"params": {"maxTrialNumber": 24, **params}, "execDuration": spent}
    command = [NODE / "node", SERVER, folder, sys.executable, NODE, bridge.__path__[0]]
    environment = os.environ | {"AUTOPRUNE_PLOTLY": str(PLOTLY), "STATUS": status}
    environment["EXPERIMENT"] = json.dumps(profile)
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=output, start_new_session=True, text=True
        )
    try:
        while not (lines := log.read_text().splitlines()):
            assert process.poll() is None
        yield Site(f"http://127.0.0.1:{lines[0]}/pareto/", log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
