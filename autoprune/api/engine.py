"""Runs a search's trials in this process."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.base.progress import note
from autoprune.prune.dense import Dense
from autoprune.report import loggers
from autoprune.report.progress import best_so_far
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.settings import TrialCommand
from autoprune.results.shortness import too_short
from autoprune.task.task import Splits, Task
from autoprune.trial.record import execute, record_failure

if TYPE_CHECKING:
    pass


@dataclass
class Engine:
    """Runs trials one after the other and keeps them."""

    settings: TrialCommand
    loaded: tuple[Task, Splits, Dense]
    channels: dict[str, int]
    folder: Path
    on_trial: Callable[[Trial], None] | None
    numbers: Iterator[int]
    found: Experiment
    log: loggers.Log
    trials: list[Trial] = field(default_factory=list)
    warned: bool = False

    def run(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run one trial; return its metrics, or None if it failed."""
        trial = self.trial(dict(parameters))
        return dict(trial.metrics) if trial.succeeded else None

    def folders(self) -> list[Path]:
        """Return the folders of the trials that have ended, in their order."""
        return [trial.folder for trial in self.trials]

    def trial(self, parameters: dict[str, Any]) -> Trial:
        """Run one trial; a failure is recorded, not raised."""
        number = next(self.numbers)
        note(lambda: best_so_far(replace(self.found, trials=self.trials)))
        folder = self.folder / "trials" / f"t{number:04}"
        folder.mkdir(parents=True)
        started, metrics, reason = _now(), {}, None
        try:
            candidate = Candidate.from_parameters(parameters)
            metrics = execute(self.settings, self.loaded, self.channels, candidate, folder, lambda quality: None)
        except Exception as error:
            reason = record_failure(error, folder)
        status = "FAILED" if reason else "SUCCEEDED"
        metric = self.loaded[0].metric
        trial = Trial(folder.name, number, parameters, status, metrics, reason, folder, started, _now(), metric=metric)
        self.trials.append(trial)
        self.log.see(replace(self.found, trials=self.trials))
        if not self.warned and (warning := too_short(replace(self.found, trials=self.trials))):
            self.warned = True
            warnings.warn(warning, stacklevel=2)
        if self.on_trial:
            self.on_trial(trial)
        return trial


def _now() -> int:
    return int(time.time() * 1000)
