"""NNI's manager as a trial's process sees it: trials are started as NNI starts them, but no manager of NNI's runs."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil


class Manager(ThreadingHTTPServer):
    """NNI's end of its channel to trials: it hands out parameters and takes metrics."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Channel)
        self.parameters, self.metrics = {}, {}


class Channel(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(json.dumps({"type": "parameter", "parameter": json.dumps(self.server.parameters[self.path])}))

    def do_PUT(self) -> None:
        command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if command["type"] == "metric":
            metric = json.loads(command["metric"])
            self.server.metrics.setdefault(self.path, []).append((metric["type"], json.loads(metric["value"])))
        self.answer("")

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_) -> None:
        pass


class Trial:
    """One trial that has ended."""

    def __init__(self, folder: Path, status: int, metrics: list) -> None:
        self.folder, self.status, self.metrics = folder, status, metrics

    @property
    def failure(self) -> str:
        return (self.folder / "failure.txt").read_text()

    @property
    def measures(self) -> dict:
        return json.loads((self.folder / "result.json").read_text())["measures"]

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def counted(self) -> dict:
        """What it reported, but for times."""
        assert self.status == 0, self.said
        (final,) = [value for kind, value in self.metrics if kind == "FINAL"]
        return {name: value for name, value in final.items() if name != "latency_ms"}


class Trials:
    """Trials of one task, each in an engine.

    Args:
        folder: which holds ``task.py``.
        paths: where trials find modules.
        words: options of the trial command.
    """

    def __init__(self, folder: Path, paths: tuple[str | Path, ...] = (), words: tuple[str, ...] = ()) -> None:
        self.folder, self.paths, self.words, self.manager = folder, paths, words, Manager()
        threading.Thread(target=self.manager.serve_forever, daemon=True).start()

    def run(self, engine: str | None, parameters: dict, **environment: str) -> Trial:
        """Run a trial to its end; in the engine that is chosen by itself if ``engine`` is None."""
        number = len(self.manager.parameters)
        path, folder = f"/env/local-env/t{number}", self.folder / "trials" / f"t{number}"
        folder.mkdir(parents=True)
        self.manager.parameters[path] = {"parameter_id": number, "parameters": parameters}
        environment = os.environ | {
            "NNI_PLATFORM": "local",
            "NNI_EXP_ID": "x",
            "NNI_TRIAL_JOB_ID": f"t{number}",
            "NNI_SYS_DIR": str(folder),
            "NNI_OUTPUT_DIR": str(folder),
            "NNI_TRIAL_SEQ_ID": str(number),
            "NNI_TRIAL_COMMAND_CHANNEL": f"http://127.0.0.1:{self.manager.server_port}{path}",
            "TMPDIR": str(self.folder),
            "AUTOPRUNE_ENGINE": engine or "",
            "PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parent, *self.paths])),
            **environment,
        }
        command = [sys.executable, "-m", "autoprune", "trial", "task.py", "--round-to", "2", *self.words]
        with (folder / "said").open("w") as said:
            done = subprocess.run(command, env=environment, cwd=self.folder, stdout=said, stderr=said)
        return Trial(folder, done.returncode, self.manager.metrics.get(path, []))

    def servers(self) -> list[psutil.Process]:
        """Return the servers of the experiment, the workers' or the warm one."""
        return [process for process in psutil.process_iter() if called(process, f"{self.folder}/autoprune-")]

    def workers(self) -> list[psutil.Process]:
        """Return the workers of its one server."""
        (server,) = self.servers()
        return [child for child in server.children() if called(child, "spawn_main")]

    def end(self) -> None:
        """End the manager; nothing is left."""
        self.manager.shutdown()
        self.manager.server_close()
        psutil.wait_procs(self.servers(), timeout=20)
        assert not self.servers()
        assert not list(self.folder.glob("autoprune-*/*.sock"))


@contextmanager
def trials(*how, **more):
    """Yield :class:`Trials`, and end them."""
    running = Trials(*how, **more)
    try:
        yield running
    finally:
        running.end()


def called(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in argument for argument in process.cmdline())
    except psutil.Error:
        return False
