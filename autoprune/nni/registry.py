"""The experiments that NNI knows on this machine, and how each of them really is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from autoprune.errors import UserError
from autoprune.nni.database import find_experiment, load_experiment, registry
from autoprune.nni.dispatcher import ERROR_FILE
from autoprune.nni.watch import Progress, manager_status
from autoprune.results.experiment import Experiment

WORDS = {
    "INITIALIZED": "starting",
    "RUNNING": "running",
    "NO_MORE_TRIAL": "running",
    "TUNER_NO_MORE_TRIAL": "running",
    "STOPPING": "stopping",
    "DONE": "done",
    "ERROR": "failed",
    "VIEWED": "viewed",
}
"""NNI's words for a manager's status, and ours."""


@dataclass(frozen=True)
class KnownExperiment:
    """An experiment in NNI's registry.

    Args:
        id: NNI's experiment id.
        folder: where its files are.
        entry: what the registry says. Its status is often out of date: see :attr:`status`.
    """

    id: str
    folder: Path
    entry: dict[str, Any]

    @property
    def port(self) -> int:
        """The port at which its manager listens, or listened."""
        return int(self.entry["port"])

    @property
    def prefix(self) -> str | None:
        """The path under which its manager serves, if any."""
        return self.entry.get("prefixUrl") or None

    @property
    def url(self) -> str:
        """Its web UI."""
        return "/".join(part for part in (f"http://127.0.0.1:{self.port}", self.prefix) if part)

    @cached_property
    def alive(self) -> bool:
        """Whether its manager is a process of this machine now."""
        pid = self.entry.get("pid") or 0
        try:
            # The command line tells whether it is the manager still, or a later process of the same number.
            return bool(pid) and self.id in psutil.Process(int(pid)).cmdline()
        except psutil.Error:
            return False

    @cached_property
    def status(self) -> str:
        """How it is: one of :data:`WORDS`, ``stopped``, ``died``, ``out of time``, ``damaged`` or
        ``deleted``.

        A running manager is asked. Of one that is gone, the files tell how it went: it died if it said no goodbye.
        """
        if self.alive:
            answer, _ = manager_status(self.port, self.prefix, attempts=1)
            status = WORDS.get(answer, "does not answer" if answer == "GONE" else answer.lower())
            return "out of time" if status == "done" and self._ran_out_of_time else status
        if self.results is None:
            return "damaged" if (self.folder / "db" / "nni.sqlite").is_file() else "deleted"
        if self._failure.is_file():
            return "failed"
        if not said_goodbye(self.folder):
            return "died"
        if Progress(self.results, "STOPPED", (), 0.0).complete:
            return "done"
        return "out of time" if self._ran_out_of_time else "stopped"

    @property
    def damage(self) -> list[str]:
        """What is damaged about its files, a line each."""
        if self.results is None:
            return [] if self.status == "deleted" else [str(self._loaded)]
        return self.results.damage

    @property
    def failure(self) -> str | None:
        """Why it failed, in one line, or None."""
        if self.status != "failed":
            return None
        reason = self._failure.read_text(errors="replace") if self._failure.is_file() else ""
        return " ".join(reason.split()) or f"see {self.folder / 'log'}"

    @property
    def results(self) -> Experiment | None:
        """Its trials so far, or None if its database is gone or damaged."""
        return self._loaded if isinstance(self._loaded, Experiment) else None

    @cached_property
    def _loaded(self) -> Experiment | UserError:
        try:
            return load_experiment(self.folder)
        except UserError as error:
            return error

    @property
    def _ran_out_of_time(self) -> bool:
        return self.results is not None and Progress(self.results, "", (), 0.0).ran_out_of_time

    @property
    def _failure(self) -> Path:
        return self.folder / "log" / ERROR_FILE


def known_experiments() -> list[KnownExperiment]:
    """Return every experiment in NNI's registry, the latest first."""
    entries = registry()
    ids = sorted(entries, key=lambda key: entries[key]["startTime"], reverse=True)
    return [KnownExperiment(key, Path(entries[key]["logDir"]).expanduser() / key, entries[key]) for key in ids]


def known_experiment(experiment_id: str) -> KnownExperiment:
    """Return one experiment; the id ``latest`` is the one started last.

    Raises:
        UserError: NNI knows no such experiment.
    """
    folder = find_experiment(experiment_id)
    return KnownExperiment(folder.name, folder, registry()[folder.name])


def said_goodbye(folder: Path) -> bool:
    """Say whether the last manager of the experiment in ``folder`` ended as it should."""
    log = folder / "log" / "nnimanager.log"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return b"Shutdown complete" in file.read()[-1024:]
    except OSError:
        return False
