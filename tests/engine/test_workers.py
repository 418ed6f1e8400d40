"""Workers: who runs a trial, what its end and theirs look like, and that nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from autoprune import engine

ASK = "import sys\nfrom autoprune.engine import workers\nsys.exit(workers.run(['some', 'words'], 'light_server'))"


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


class Experiment:
    """A manager that only listens, and the processes by which it has trials run."""

    def __init__(self, folder: Path):
        self.folder, self.manager, self.asked = folder, socket.create_server(("127.0.0.1", 0)), []
        self.address = f"http://127.0.0.1:{self.manager.getsockname()[1]}/env/local-env/x"

    def start(self, do: str = "", **environment: str) -> subprocess.Popen:
        """Start a trial."""
        folder = self.folder / "trials" / f"t{len(self.asked)}"
        folder.mkdir(parents=True)
        nni = {"NNI_TRIAL_COMMAND_CHANNEL": self.address, "NNI_EXP_ID": "x", "NNI_OUTPUT_DIR": str(folder)}
        environment = os.environ | nni | {"TMPDIR": str(self.folder), "DO": do} | environment
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        said = (folder / "said").open("w")
        process = subprocess.Popen([sys.executable, "-c", ASK], env=environment, cwd=self.folder, stdout=said)
        self.asked.append(process)
        process.said = lambda: (folder / "said").read_text()
        return process

    def run(self, do: str = "", status: int = 0, **environment: str) -> list[str]:
        """Run a trial to its end; return the worker's id, the number of its trials so far and the folder's name."""
        trial = self.start(do, **environment)
        assert trial.wait(timeout=30) == status
        return trial.said().split()

    def servers(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "light_server" in p.cmdline()]

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TMPDIR") == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        self.manager.close()
        for process in self.processes():
            process.kill()
        for process in self.asked:
            process.wait()


@pytest.fixture
def experiment():
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:  # pytest's are too long for a socket's path
        running = Experiment(Path(folder))
        yield running
        running.end()


def test_one_worker_runs_trial_after_trial_in_their_folders(experiment):
    (experiment.folder / "elsewhere").mkdir()
    first, second = experiment.run(), experiment.run(STATUS="3", status=3)
    assert first[0] == second[0] and [first[1], second[1]] == ["1", "2"]
    assert first[2] == experiment.folder.name
    assert int(first[0]) not in {process.pid for process in experiment.asked}
    assert len(experiment.servers()) == 1


def test_as_many_workers_as_trials_at_once(experiment):
    at_work = [experiment.start("sleep") for _ in range(2)]
    workers = {wait_until(trial.said).split()[0] for trial in at_work}
    assert len(workers) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_fails_its_own_trial_alone_and_is_replaced(experiment, number):
    dying, other = experiment.start("sleep"), experiment.start("steps")
    pids = [int(wait_until(trial.said).split()[0]) for trial in (dying, other)]
    os.kill(pids[0], number)
    assert dying.wait(timeout=10) == 128 + number
    assert int(experiment.run()[0]) not in pids
    assert other.poll() is None


def test_a_worker_that_is_no_longer_usable_is_replaced(experiment):
    broken = experiment.run("break", STATUS="1", status=1)
    assert experiment.run()[:2] != [broken[0], "2"]


def test_a_trial_that_is_stopped_ends_at_its_next_step_and_its_worker_goes_on(experiment):
    stopped = experiment.start("steps")
    pid, _, _ = wait_until(stopped.said).split()
    stopped.kill()
    assert experiment.run()[:2] == [pid, "2"]


def test_one_that_does_not_come_to_a_step_ends_with_its_worker_which_is_replaced(experiment):
    stopped = experiment.start("sleep")
    pid, _, _ = wait_until(stopped.said).split()
    stopped.kill()
    assert experiment.run()[0] != pid
    assert not psutil.pid_exists(int(pid))  # never two where there is memory for one


def test_devices_that_a_trial_is_given_decide_its_worker(experiment):
    a, b, again = (experiment.run(CUDA_VISIBLE_DEVICES=number) for number in "010")
    assert a[0] == again[0] != b[0]


def test_trials_outlive_the_server_and_the_next_has_another(experiment):
    trial = experiment.start("steps")
    pid, _, _ = wait_until(trial.said).split()
    (server,) = experiment.servers()
    server.kill()
    assert experiment.run()[0] != pid
    assert trial.poll() is None
    trial.kill()
    wait_until(lambda: not psutil.pid_exists(int(pid)))


def test_all_end_with_the_manager_and_leave_no_socket(experiment):
    experiment.run()
    trial = experiment.start("sleep")
    wait_until(trial.said)
    experiment.manager.close()
    wait_until(lambda: not experiment.processes())
    (folder,) = experiment.folder.glob("autoprune-*")
    assert not list(folder.glob("*.sock")) and not list(folder.glob("*.new"))
    assert trial.wait(timeout=5) == 137


@pytest.mark.parametrize(
    ("words", "name"),
    [([], "warm"), (["--device", "cpu"], "warm"), (["--device", "cuda"], "workers"), (["--device=xpu:1"], "workers")],
)
def test_workers_are_chosen_by_themselves_on_a_device(monkeypatch, words, name):
    monkeypatch.delenv("AUTOPRUNE_ENGINE", raising=False)
    assert engine.chosen(["digits", *words]) is engine.ENGINES[name]
    monkeypatch.setenv("AUTOPRUNE_ENGINE", "here")
    assert engine.chosen(["digits", *words]) is engine.ENGINES["here"]
