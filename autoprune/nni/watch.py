"""Following a running experiment: its state, read from NNI's manager, and its trials, read from NNI's database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import UserError
from autoprune.nni import client
from autoprune.nni.database import load_experiment
from autoprune.nni.signals import interrupts_noticed
from autoprune.results.experiment import Experiment

DISPATCH = 0.3
"""Seconds that NNI takes from a trial's end to the next one's start (``experiments/trial_overhead.py``)."""


@dataclass(frozen=True)
class Progress:
    """How far an experiment has come.

    Args:
        experiment: its trials so far.
        status: the manager's status, or ``GONE`` if it does not answer.
        errors: the reasons of an ``ERROR``.
        elapsed: seconds since the first look.
    """

    experiment: Experiment
    status: str
    errors: tuple[str, ...]
    elapsed: float

    @property
    def total(self) -> int:
        """Trials that the config allows."""
        return int(self.experiment.config.get("maxTrialNumber") or 0)

    @property
    def ended(self) -> int:
        """Trials that ended, well or not."""
        return self.experiment.ended

    @property
    def complete(self) -> bool:
        """Whether all trials that the config allows have ended, or, without such a limit, its time was used."""
        if self.total:
            return self.ended >= self.total
        return self.experiment.out_of_time and bool(self.experiment.candidates)

    @property
    def ran_out_of_time(self) -> bool:
        """Whether the time that the config allows was over before the search was complete."""
        return self.experiment.out_of_time and not self.complete

    @property
    def seconds_left(self) -> float | None:
        """An estimate from how long the candidates took, or None before the first has ended; it outlives a pause.

        What comes before them, the preparation above all, may take a hundred times as long and says nothing of them.
        """
        took = [t.ended - t.started for t in self.experiment.candidates if t.started and t.ended]
        if not took or not self.total:
            return None
        at_once = int(self.experiment.config.get("trialConcurrency") or 1)
        return max(0.0, (sum(took) / len(took) / 1000 + DISPATCH) / at_once * (self.total - self.ended))

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        idle = self.status == "TUNER_NO_MORE_TRIAL" and self.ended == len(self.experiment.trials)
        return idle or self.status in ("DONE", "ERROR", "STOPPED", "GONE")


def follow(
    folder: Path, port: int, show: Callable[[Progress], None], every: float = 1.0, prefix: str | None = None
) -> Progress:
    """Show an experiment's progress until it is over, and return the last.

    Args:
        folder: the experiment's folder.
        port: its manager's.
        every: seconds between looks.
        prefix: the path under which the manager serves, if any.
    """
    start = time.monotonic()
    with interrupts_noticed() as check:
        while True:
            check()
            status, errors = manager_status(port, prefix)
            try:
                experiment = load_experiment(folder)
            except UserError:
                if status == "GONE":
                    raise
                time.sleep(every)
                continue
            progress = Progress(experiment, status, errors, time.monotonic() - start)
            show(progress)
            if progress.over:
                return progress
            time.sleep(every)


def manager_status(port: int, prefix: str | None = None, attempts: int = 5) -> tuple[str, tuple[str, ...]]:
    """Return the manager's status and its errors; ``GONE`` if nothing answers at ``port``, tried once a second."""
    for attempt in range(attempts):
        try:
            answer = client.get(port, "check-status", prefix, timeout=5)
            return answer["status"], tuple(answer.get("errors", ()))
        except OSError:
            time.sleep(1 if attempt < attempts - 1 else 0)
    return "GONE", ()
