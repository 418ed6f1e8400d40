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

from autoprune.experiment import live

AUTOPRUNE = str(Path(sys.executable).with_name("autoprune"))


def autoprune(nni, *words) -> subprocess.CompletedProcess:
    command = [AUTOPRUNE, *map(str, words)]
    return subprocess.run(command, env=nni.environment, cwd=nni.home, capture_output=True, text=True, timeout=100)


def listed(nni) -> list[str]:
    """Return the words of the experiment's row in the list."""
    (row,) = [line.split() for line in autoprune(nni, "list").stdout.splitlines() if nni.id in line]
    return row


class Terminal:
    """A person at a terminal, in which one command runs."""

    def __init__(self, nni, *words):
        self.said = ""
        pid, self.descriptor = pty.fork()
        if pid == 0:
            os.chdir(nni.home)
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

    def wait_for(self, words: str, seconds: float = 60) -> None:
        wait_until(lambda: words in self.read(), seconds, f"{words!r} on the terminal")

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


def test_an_experiment_is_watched_listed_stopped_and_goes_on_with_more_trials(nni_home):
    assert nni_home.create(nni_home.config("--measures 1 --sleep 0.2")).returncode == 0
    watched = autoprune(nni_home, "watch", nni_home.id)
    assert watched.returncode == 0, watched.stderr
    assert "3 of 3 trials done, 0 failed" in watched.stdout
    assert "Pareto front of accuracy and macs" in watched.stdout
    assert listed(nni_home)[2:6] == ["done", "3", "of", "3"]
    assert listed(nni_home)[-1] == str(nni_home.port)

    assert autoprune(nni_home, "stop", nni_home.id).returncode == 0
    assert not nni_home.processes()
    assert listed(nni_home)[2] == "done"
    assert listed(nni_home)[-1] == "-"
    assert "does not run (done)" in autoprune(nni_home, "stop", nni_home.id).stdout

    complete = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    assert complete.returncode == 2
    assert re.fullmatch(r"autoprune: experiment \w+ has run all of its 3 trials: .*--trials N\n", complete.stderr)
    more = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port, "--trials", 2)
    assert more.returncode == 0, more.stderr
    assert "5 of 5 trials done, 0 failed" in more.stdout
    assert len(nni_home.parameters_run()) == 5
    wait_until(lambda: not nni_home.processes(), what="the end of every process")


def test_a_manager_that_died_is_listed_as_such_and_the_experiment_goes_on(nni_home):
    assert nni_home.create(nni_home.config("--measures 1 --sleep 2")).returncode == 0
    wait_until(lambda: nni_home.parameters_run(), what="a trial")
    assert listed(nni_home)[2] == "running"
    (manager,) = nni_home.managers()
    manager.kill()
    manager.wait()
    assert listed(nni_home)[2] == "died"
    assert "does not run (died)" in autoprune(nni_home, "stop", nni_home.id).stdout
    resumed = autoprune(nni_home, "resume", nni_home.id, "--port", nni_home.port)
    assert resumed.returncode == 0, resumed.stderr
    assert "3 of 3 trials done" in resumed.stdout
    assert listed(nni_home)[2] == "done"


@pytest.mark.parametrize(("answer", "status"), [("\n", 0), ("stop\n", 130)], ids=["Enter leaves it", "stop"])
def test_ctrl_c_asks_whether_to_leave_it_running(nni_home, answer, status):
    assert nni_home.create(nni_home.config("--measures 1 --sleep 1", maxTrialNumber=99)).returncode == 0
    terminal = Terminal(nni_home, "watch")
    terminal.wait_for("1 of 99 trials")
    terminal.type("\x03")
    terminal.wait_for("it running, or")
    terminal.type(answer)
    assert terminal.exit_status() == status
    assert bool(nni_home.managers()) == (status == 0)


def test_a_run_that_is_left_at_the_prompt_goes_on_without_its_terminal(nni_home, digits):  # noqa: F811
    terminal = Terminal(
        nni_home,
        "run",
        digits(trial="autoprune trial quick.py --no-baselines", maxTrialNumber=99),
        "--port",
        nni_home.port,
    )
    terminal.wait_for("Pareto front so far", 120)
    terminal.type("\x03")
    terminal.wait_for("it running, or")
    terminal.type("\n")  # a mere Enter is no answer here
    terminal.type("leave\n")
    assert terminal.exit_status() == 0
    assert f"autoprune watch {nni_home.id}" in terminal.said
    assert nni_home.managers()
    assert autoprune(nni_home, "stop", "latest").returncode == 0
    assert not nni_home.processes()


def test_where_nobody_can_be_asked_the_answer_is_the_callers():
    nobody = Console(file=io.StringIO())
    assert live.ask(nobody, unasked="stop") == "stop"
    assert live.ask(nobody, unasked="leave", default="leave") == "leave"


@pytest.mark.parametrize("command", ["watch", "stop", "resume", "pareto", "compare"])
def test_an_id_that_is_a_path_is_no_experiment(nni_home, command):
    for word in ("../../etc", "nobody"):
        done = autoprune(nni_home, command, word)
        assert done.returncode == 2
        assert done.stderr.startswith(f"autoprune: no experiment '{word}'")
