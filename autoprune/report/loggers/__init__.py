"""Searches in somebody's tracker of experiments: ``--log tensorboard,mlflow,wandb``.

A new logger is one small file with a :class:`.Logger`, and one line in :data:`LOGGERS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from autoprune.base.packages import require
from autoprune.base.registry import Registry
from autoprune.errors import UserError, in_a_line
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.final import Final
from autoprune.finalize.front import front_as_csv
from autoprune.report.loggers.base import Ended, Logger, Outcome
from autoprune.report.progress import by_end, doing
from autoprune.report.waiting import EVERY
from autoprune.results.experiment import RUNNING, Experiment, Trial

if TYPE_CHECKING:
    from types import TracebackType

LOGGERS: Registry[type[Logger]] = Registry(
    "logger",
    {
        "tensorboard": "autoprune.report.loggers.tensorboard:TensorBoard",
        "mlflow": "autoprune.report.loggers.mlflow:MLflow",
        "wandb": "autoprune.report.loggers.wandb:WandB",
    },
    "autoprune.loggers",
)


def checked(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of loggers in a list, or in one with commas; each can be used here.

    Raises:
        UserError: one is unknown, or its package is missing.
    """
    given = names.split(",") if isinstance(names, str) else names or ()
    found = tuple(dict.fromkeys(name.strip() for name in given))
    for name in found:
        if package := LOGGERS[name].package:
            require(package, "log", f"--log {name}")
    return found


class Log:
    """Tells loggers what is new in a search; one that fails is left out from then on, and the search goes on.

    Args:
        names: of loggers, checked.
        name: the search's.
        about: what it is, in words.
        say: told where each can be seen.
        warn: told which of them failed, and why.

    Raises:
        UserError: a logger cannot begin.
    """

    def __init__(
        self,
        names: Sequence[str],
        name: str,
        about: Mapping[str, Any],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._warn, self._seen, self._said, self._complete = warn, set[str](), 0.0, False
        self._loggers: dict[str, Logger] = {}
        words = {key: str(value) for key, value in about.items() if value is not None}
        for each in names:
            logger = LOGGERS[each]()
            try:
                say(logger.begin(name, words))
            except Exception as error:
                self._close()
                raise UserError(f"logger {each} cannot begin: {in_a_line(error)}") from error
            self._loggers[each] = logger

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def doing(self, words: str) -> None:
        """Say what is going on."""
        self._tell(lambda logger: logger.doing(words))

    def see(self, experiment: Experiment) -> None:
        """Log the trials that have ended since the last look, and now and then what the others are doing."""
        if not self._loggers:
            return
        ended = [trial for trial in experiment.trials if trial.status not in RUNNING and trial.id not in self._seen]
        for trial in by_end(ended):
            self._seen.add(trial.id)
            self._tell(partial(_log_trial, _ended(trial, len(self._seen))))
        if time.monotonic() >= self._said + EVERY:
            self._said = time.monotonic()
            self.doing("; ".join([experiment.counts, *doing(experiment)]))

    def end(self, experiment: Experiment, final: Final | None = None) -> None:
        """Log the front and the chosen model."""
        if self._loggers:
            self.see(experiment)
            outcome = _outcome(experiment, final)
            self._tell(lambda logger: logger.end(outcome))
        self._complete = True

    def _tell(self, what: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            try:
                what(logger)
            except Exception as error:
                del self._loggers[name]
                self._warn(f"logger {name} failed and is left out from now on: {in_a_line(error)}")

    def _close(self) -> None:
        self._tell(lambda logger: logger.close(self._complete))
        self._loggers.clear()


def _log_trial(ended: Ended, logger: Logger) -> None:
    logger.trial(ended)


def _ended(trial: Trial, step: int) -> Ended:
    chosen = {name.replace("sparsity.", "sparsity/"): value for name, value in trial.parameters.items()}
    numbers = {name: float(value) for name, value in chosen.items() if isinstance(value, int | float)}
    texts = {name: str(value) for name, value in chosen.items() if name not in numbers and value is not None}
    if trial.succeeded:
        numbers |= {f"trial/{name}": value for name, value in trial.measures.items()}
    if trial.reason:
        texts["failed"] = trial.reason
    return Ended(trial.id, step, numbers, texts, not trial.succeeded)


def _outcome(experiment: Experiment, final: Final | None) -> Outcome:
    front = front_as_csv(experiment, final=final)
    chosen, reason = (final.chosen, final.reason) if final else (None, "")
    if chosen is None and experiment.candidates:
        with suppress(UserError):  # nothing keeps within the search's constraints
            chosen, reason = choose_trial(experiment, None)
    if chosen is None:
        return Outcome(front, "", {}, ())
    numbers = {f"chosen/{name}": value for name, value in chosen.measures.items()}
    if final and final.test_quality is not None:
        numbers[f"chosen/test {experiment.metric.name}"] = final.test_quality
    files = [*final.files.values(), *final.cards] if final else []
    return Outcome(front, f"trial {chosen.id}, by {reason}", numbers, files)
