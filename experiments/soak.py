"""Kill every part of real searches at random moments, and count what is lost: `make soak`.

Manager, tuner, trials, warm process, fine-tuning workers and all at once get SIGKILL, during the search, a resume, the
final fine-tuning and the export. Everything runs through the command line, in a home of its own. The moments are drawn
by the seed; what happens at them depends on the machine. The exit status is 1 if any of the counts is not 0.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil
import yaml

from autoprune.errors import UserError
from autoprune.nni.database import load_experiment
from autoprune.results.experiment import ENDED, Experiment

PROGRAMS = Path(sys.executable).parent
TARGETS = {
    "search": ("manager", "tuner", "trial", "warm process", "all"),
    "resume": ("manager", "tuner", "trial", "warm process", "all"),
    "fine-tuning": ("worker", "all"),
    "export": ("all",),
}
"""What is killed in each phase."""

LONGEST = {"search": 2.0, "resume": 12.0, "fine-tuning": 4.0, "export": 4.0}
"""Seconds into a phase in which the kill comes; into a search after up to three more trials have finished."""

TASK = """
from dataclasses import replace
from autoprune.task import load_task
digits = load_task("digits")
task = replace(digits, training=replace(digits.training, steps=60), recovery=replace(digits.recovery, steps=40))
"""
SPACE = {
    "schedule": {"_type": "choice", "_value": ["one_shot"]},
    "sparsity.stem.0": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]},
    "sparsity.block.0.0": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]},
    "sparsity.down.0": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]},
    "sparsity.hidden": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]},
}
CONFIG = {
    "experimentName": "soak",
    "searchSpace": SPACE,
    "trialCommand": "autoprune trial quick.py",
    "trialCodeDirectory": ".",
    "trialConcurrency": 2,
    "maxTrialNumber": 16,
    "tuner": {"className": "autoprune.search.OptunaTuner", "codeDirectory": ".", "classArgs": {"rungs": False}},
    "trainingService": {"platform": "local"},
}
PATIENCE = 600
"""Seconds after which a command that should have ended, or come on, is stuck."""


class Home:
    """A home folder, its processes, and the one command that runs in it at a time."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        drop = ("NNI", "NODE", "AUTOPRUNE")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
        self.environment |= {"HOME": str(folder), "NNI_CONFIG_DIR": str(folder / "nni"), "OMP_NUM_THREADS": "1"}
        self.environment["AUTOPRUNE_CACHE"] = str(folder / "cache")
        self.log = folder / "soak.log"
        (folder / "quick.py").write_text(TASK)
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))

    def start(self, *words: str) -> subprocess.Popen:
        with self.log.open("a") as log:
            print(f"\n$ autoprune {' '.join(words)}", file=log, flush=True)
            command = [PROGRAMS / "autoprune", *words]
            return subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=log, stderr=log)

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def called(self, *words: str) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if all(any(word in each for each in process.cmdline()) for word in words):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def targets(self, name: str, command: subprocess.Popen) -> list[psutil.Process]:
        """Return the processes that go by a name, as far as they are there."""
        if name == "all":
            return self.processes()
        if name == "worker":
            with suppress(psutil.Error):
                return psutil.Process(command.pid).children()
            return []
        word = {"manager": "main.js", "tuner": "--exp_params", "warm process": "warm_trials", "trial": "warm_trials"}
        found = self.called(word[name])
        if name == "trial":
            return [*found[1:], *self.called("autoprune", "trial")[:1]]
        return found[:1] if name == "warm process" else found

    @property
    def port_is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Soak:
    """Searches, one after the other, and what the kills did to them."""

    def __init__(self, home: Home, kills: int, seconds: float, seed: int) -> None:
        self.home, self.wanted = home, kills
        self.begun, self.deadline = time.monotonic(), time.monotonic() + seconds
        self.chance = random.Random(seed)
        self.kills: Counter[tuple[str, str]] = Counter()
        self.faults = Counter({"finished trials lost": 0, "run twice": 0, "stuck processes": 0, "ports left": 0})
        self.faults["searches that did not end"] = 0
        self.finished: dict[str, dict[str, float]] = {}
        self.plan: list[tuple[str, str]] = []

    @property
    def over(self) -> bool:
        return self.kills.total() >= self.wanted or time.monotonic() > self.deadline

    def run(self) -> None:
        while not self.over:
            self.search()

    def next(self, *phases: str) -> tuple[str, str] | None:
        """Return the phase and the target of the next kill in one of these phases, or None: on to what comes after."""
        if self.over:
            return None
        # Resumes follow kills of a search: without one of these in the plan the others would never come.
        if not self.plan or ("search" in phases and "search" not in [phase for phase, _ in self.plan]):
            more = [(phase, target) for phase, targets in TARGETS.items() for target in targets]
            self.chance.shuffle(more)
            self.plan += more
        found = next((each for each in self.plan if each[0] in phases), None)
        if found:
            self.plan.remove(found)
        return found

    def search(self) -> None:
        """Run one search to its end, whatever is killed on the way, and take models home."""
        before = set(self._known())
        self.finished = {}
        command = self.home.start("run", "config.yaml", "--port", str(self.home.port))
        if not self._wait(lambda: set(self._known()) - before or command.poll() is not None, "a new search"):
            self._clear(command)
            return
        (self.id,) = set(self._known()) - before
        for _ in range(self.chance.randrange(2, 6)):
            planned = self.next("search")
            if planned is None:
                break
            self._wait(lambda c=command: self._trials_begun() or c.poll() is not None, "a trial")
            command = self._kill_and_go_on(command, *planned)
            while self.chance.random() < 0.7 and not self._complete() and (planned := self.next("resume")):
                self._end(command)
                command = self._resume()
                command = self._kill_and_go_on(command, *planned)
        command = self._to_the_end(command)
        self._check()
        self._take_home()
        self._clear(command)

    def _kill_and_go_on(self, command: subprocess.Popen, phase: str, target: str) -> subprocess.Popen:
        self._kill(command, phase, target)
        if target in ("trial", "warm process") and command.poll() is None:
            return command
        self._wait(lambda: command.poll() is not None, f"the end of the command after the {target} was killed")
        self._check()
        return command if self._complete() else self._resume()

    def _to_the_end(self, command: subprocess.Popen) -> subprocess.Popen:
        self._wait(lambda: command.poll() is not None, "the end of the search")
        for _attempt in range(3):
            if self._complete():
                return command
            command = self._resume()
            self._wait(lambda c=command: c.poll() is not None, "the end of the resumed search")
        if not self._complete():
            self._fault("searches that did not end", f"{self.id} is not complete after three resumes")
        return command

    def _take_home(self) -> None:
        candidates = [trial.id for trial in self._load().candidates] if self._complete() else []
        self.chance.shuffle(candidates)
        for trial in candidates[:2]:
            words = ("export", self.id, "--choose", trial, "-o", f"model-{self.id}-{trial}")
            while planned := self.next("fine-tuning", "export"):
                folder = self._load().folder / "recovered"
                outcomes = [folder / f"{trial}-{number}.json" for number in range(3)]
                if planned[0] == "fine-tuning" and all(file.is_file() for file in outcomes):
                    self.plan.append(planned)
                    break
                command = self.home.start(*words)
                begun = (
                    (lambda f=outcomes: all(x.is_file() for x in f))
                    if planned[0] == "export"
                    else (lambda c=command: self.home.targets("worker", c))
                )
                self._wait(lambda b=begun, c=command: b() or c.poll() is not None, f"the {planned[0]}")
                kept = {file: file.read_bytes() for file in outcomes if file.is_file()}
                self._kill(command, *planned)
                self._wait(lambda c=command: c.poll() is not None, "the end of the export")
                lost = [file.name for file, content in kept.items() if file.read_bytes() != content]
                if lost:
                    self._fault("finished trials lost", f"outcomes of fine-tunings: {lost}")
            command = self.home.start(*words)
            self._wait(lambda c=command: c.poll() is not None, "an export")
            if command.returncode != 0:
                self._fault("searches that did not end", f"the export of {trial} of {self.id} failed")

    def _resume(self) -> subprocess.Popen:
        return self.home.start("resume", self.id, "--port", str(self.home.port))

    def _kill(self, command: subprocess.Popen, phase: str, target: str) -> None:
        """Kill the target at a random moment of the phase that has just begun."""
        if phase == "search":
            self._remember()
            enough = len(self.finished) + self.chance.randrange(4)
            self._wait(lambda: self._remember() >= enough or command.poll() is not None, "trials to finish")
        time.sleep(self.chance.uniform(0, LONGEST[phase]))
        end = time.monotonic() + 10
        while not (found := self.home.targets(target, command)) and time.monotonic() < end:
            if command.poll() is not None:
                break
            time.sleep(0.02)
        if not found or command.poll() is not None:
            self.plan.append((phase, target))  # too late for this one
            return
        chosen = found if target in ("all", "manager", "tuner") else [self.chance.choice(found)]
        for process in chosen:
            with suppress(psutil.Error):
                process.kill()
        if target == "all":
            command.wait()
        self._remember()
        self.kills[phase, target] += 1
        self._say(f"{phase}: {target} killed; {len(self.finished)} finished trials so far")

    def _remember(self) -> int:
        """Note the trials that have finished, and return how many there are."""
        with suppress(UserError):
            for trial in self._load().trials:
                if trial.status == "SUCCEEDED":
                    self.finished.setdefault(trial.id, trial.metrics)
        return len(self.finished)

    def _check(self) -> None:
        """Count finished trials that are gone or changed, and trials or parameter sets that were run twice."""
        experiment = self._load()
        now = {trial.id: trial.metrics for trial in experiment.trials if trial.status == "SUCCEEDED"}
        lost = [key for key, metrics in self.finished.items() if now.get(key) != metrics]
        if lost:
            self._fault("finished trials lost", f"of {self.id}: {', '.join(lost)}", len(lost))
        with closing(sqlite3.connect(experiment.folder / "db" / "nni.sqlite", timeout=10)) as database:
            events = database.execute("select trialJobId, event from TrialJobEvent order by rowid").fetchall()
            results = database.execute("select trialJobId from MetricData where type = 'FINAL'").fetchall()
        ended: set[str] = set()
        twice = {key for (key,), count in Counter(results).items() if count > 1}
        for key, event in events:
            if event == "RUNNING" and key in ended:
                twice.add(key)
            if event in ENDED:
                ended.add(key)
        runs = Counter(str(sorted(t.parameters.items())) for t in experiment.trials if t.status == "SUCCEEDED")
        again = [parameters for parameters, count in runs.items() if count > 1]
        if twice or again:
            self._fault("run twice", f"of {self.id}: {', '.join([*twice, *again])}", len(twice) + len(again))

    def _clear(self, command: subprocess.Popen) -> None:
        """Stop the search as its user would, and count what stays behind."""
        self._end(command)
        if time.monotonic() < self.deadline + PATIENCE and getattr(self, "id", None):
            self._end(self.home.start("stop", self.id))
        left = self._wait(lambda: not self.home.processes(), None, 20)
        if not left:
            names = ["  ".join(process.cmdline()[-3:]) for process in self.home.processes()]
            self._fault("stuck processes", f"{names}", len(names))
        if self.home.port_is_open:
            self._fault("ports left", str(self.home.port))
        for process in self.home.processes():
            with suppress(psutil.Error):
                process.kill()

    def _end(self, command: subprocess.Popen) -> None:
        """Wait for the end of a command; one that goes on is told to end."""
        with suppress(subprocess.TimeoutExpired):
            command.wait(1)
            return
        command.terminate()
        try:
            command.wait(60)
        except subprocess.TimeoutExpired:
            self._fault("stuck processes", f"a command does not end: {command.args}")
            command.kill()
            command.wait()

    def _wait(self, condition, what: str | None, seconds: float = PATIENCE) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.05)
        if what:
            self._fault("stuck processes", f"waited {seconds} s for {what}")
        return False

    def _known(self) -> list[str]:
        found = (self.home.folder / "nni-experiments").glob("[!_]*/db/nni.sqlite")  # _latest is a link
        return [file.parents[1].name for file in found]

    def _load(self) -> Experiment:
        return load_experiment(self.home.folder / "nni-experiments" / self.id)

    def _trials_begun(self) -> bool:
        with suppress(UserError):
            return bool(self._load().trials)
        return False

    def _complete(self) -> bool:
        return sum(trial.status in ENDED for trial in self._load().trials) >= CONFIG["maxTrialNumber"]

    def _fault(self, kind: str, what: str, count: int = 1) -> None:
        self.faults[kind] += count
        self._say(f"FAULT: {kind}: {what}")

    def _say(self, text: str) -> None:
        print(f"[{self.kills.total():3} of {self.wanted}, {time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def table(self) -> str:
        names = list(dict.fromkeys(target for targets in TARGETS.values() for target in targets))
        lines = [f"{'kills':<14}" + "".join(f"{name:>14}" for name in names)]
        for phase, targets in TARGETS.items():
            cells = (str(self.kills[phase, name]) if name in targets else "-" for name in names)
            lines.append(f"{phase:<14}" + "".join(f"{cell:>14}" for cell in cells))
        lines.append(f"{self.kills.total()} kills in {(time.monotonic() - self.begun) / 60:.1f} minutes")
        return "\n".join([*lines, *(f"{kind:<26} {count}" for kind, count in self.faults.items())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60, help="no kill after so long, however few there were")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=20480)
    parser.add_argument("--keep", action="store_true", help="keep the home folder with the logs also if all went well")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="autoprune-soak-"))
    soak = Soak(Home(folder, options.port), options.kills, 60 * options.minutes, options.seed)
    try:
        soak.run()
    finally:
        for process in soak.home.processes():
            with suppress(psutil.Error):
                process.kill()
    print(f"\n{soak.table()}")
    bad = any(soak.faults.values()) or not soak.kills
    if bad or options.keep:
        print(f"what the commands said: {soak.home.log}")
    else:
        shutil.rmtree(folder)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
