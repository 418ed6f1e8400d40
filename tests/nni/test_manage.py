"""Experiments that run already, or ran: coming back to them, listing, stopping and resuming them."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import wait_until
from rich.console import Console
from test_run import digits  # noqa: F401  (a fixture)

from autoprune import cli
from autoprune.nni import live

AUTOPRUNE = str(Path(sys.executable).with_name("autoprune"))


def autoprune(nni, *words) -> subprocess.CompletedProcess:
    command = [AUTOPRUNE, *map(str, words)]
    return subprocess.run(command, env=nni.environment, cwd=nni.home, capture_output=True, text=True, timeout=100)


def listed(nni) -> list[str]:
    """Return the words of the experiment's row in the list."""
    said = autoprune(nni, "list")
    rows = [line.split() for line in said.stdout.splitlines() if line.split()[:1] == [nni.id]]
    assert len(rows) == 1, said.stdout + said.stderr
    return rows[0]


class Terminal:
    """A person at a terminal, in which one command runs."""

    def __init__(self, nni, *words):
        self.said = ""
        pid, self.descriptor = pty.fork()
        if pid == 0:
            os.chdir(nni.home)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite that runs in the background may ignore it
            os.execve(AUTOPRUNE, [AUTOPRUNE, *map(str, words)], nni.environment | {"TERM": "xterm", "COLUMNS": "120"})
        self.pid = pid
        os.set_blocking(self.descriptor, False)

    def read(self) -> str:
        try:
            while data := os.read(self.descriptor, 65536):
                self.said += data.decode(errors="replace")
        except OSError:
            pass
        return self.said

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C when the live view has shown a front."""
        self.wait_for("Pareto front so far", 120)
        self.type("\x03")
        self.wait_for("it running, or")

    def wait_for(self, words: str, seconds: float = 60) -> None:
        try:
            wait_until(lambda: words in self.read(), seconds)
        except AssertionError:
            raise AssertionError(f"{words!r} is not on the terminal after {seconds} s: {self.said[-2000:]}") from None

    def exit_status(self) -> int:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self.read()  # a full terminal would block the command
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.read()
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(f"still there: {self.said}")


@pytest.mark.slow
def test_an_experiment_whose_manager_died_goes_on_and_on_with_more_trials(nni_home):
    assert nni_home.create(nni_home.config("--measures 1 --first 8")).returncode == 0
    wait_until(lambda: nni_home.parameters_run(), what="a trial")
    assert listed(nni_home)[2] == "running"
    assert listed(nni_home)[-1] == str(nni_home.port)
    (manager,) = nni_home.managers()
    manager.kill()
    manager.wait()
    assert listed(nni_home)[2] == "died"
    assert "does not run (died)" in autoprune(nni_home, "stop", nni_home.id).stdout

    resumed = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    assert resumed.returncode == 0, resumed.stderr
    assert "3 of 3 trials done" in resumed.stdout
    assert "Pareto front of accuracy and macs" in resumed.stdout
    assert listed(nni_home)[2:6] == ["done", "3", "of", "3"]
    assert listed(nni_home)[-1] == "-"

    complete = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    assert complete.returncode == 2
    assert re.fullmatch(r"autoprune: experiment \w+ has run all of its 3 trials: .*--trials N\n", complete.stderr)
    more = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port, "--trials", 2)
    assert more.returncode == 0, more.stderr
    assert "5 of 5 trials done, 0 failed" in more.stdout
    assert len(nni_home.parameters_run()) == 5
    wait_until(lambda: not nni_home.processes(), what="the end of every process")


def test_ctrl_c_asks_whether_to_leave_it_running(nni_home, digits):  # noqa: F811
    config = digits(trial="autoprune trial quick.py --no-baselines", maxTrialNumber=999)
    terminal = Terminal(nni_home, "run", config, "--port", nni_home.port)
    terminal.interrupt()
    terminal.type("\n")  # a mere Enter is no answer here
    terminal.type("leave\n")
    assert terminal.exit_status() == 0
    assert f"autoprune watch {nni_home.id}" in terminal.said

    for answer, status in (("\n", 0), ("stop\n", 130)):
        assert nni_home.status()["status"] == "RUNNING"
        terminal = Terminal(nni_home, "watch")
        terminal.interrupt()
        terminal.type(answer)
        assert terminal.exit_status() == status
    wait_until(lambda: not nni_home.processes(), what="the end of every process")
    assert listed(nni_home)[2] == "stopped"


def test_where_nobody_can_be_asked_the_answer_is_the_callers():
    nobody = Console(file=io.StringIO())
    assert live.ask(nobody, unasked="stop") == "stop"
    assert live.ask(nobody, unasked="leave", default="leave") == "leave"


@pytest.mark.parametrize("command", ["watch", "stop", "resume", "pareto", "compare"])
def test_an_id_that_is_a_path_is_no_experiment(monkeypatch, tmp_path, capsys, command):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["autoprune", command, "../../etc"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("autoprune: no experiment '../../etc'")
