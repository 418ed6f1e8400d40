"""Reading an experiment's trials from NNI's database, whether it runs, has ended, or was started by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autoprune.base.files import read_object, read_regular
from autoprune.errors import UserError
from autoprune.results import baselines, finite, prepared
from autoprune.results.candidate import WIDTH
from autoprune.results.fine_tuned import read_fine_tuned
from autoprune.results.limits import Limit, read_limits, satisfies
from autoprune.results.measures import METRIC, SIZES, Measure, named
from autoprune.results.network import Network, read_network
from autoprune.results.pareto import DEFAULT_OBJECTIVES, pareto_front
from autoprune.results.prepared import Prepared
from autoprune.results.settings import TrialCommand

RESULT, MODEL, FAILURE = "result.json", "model.pt", "failure.txt"
"""What a trial leaves in its folder: its result and its model, or the reason of its failure."""

PROGRESS = "progress.txt"
"""There as long as a trial runs: what it is doing, in words."""

RUNNING = ("WAITING", "RUNNING", "UNKNOWN")
STOPPED = ("EARLY_STOPPED", "USER_CANCELED")
"""NNI's statuses of trials that an assessor or a person stopped."""

ENDED = (*STOPPED, "SUCCEEDED", "FAILED", "SYS_CANCELED")


@dataclass(frozen=True)
class Trial:
    """One trial as NNI's database has it.

    Args:
        id: NNI's trial id.
        sequence: its number in the experiment, from 0.
        parameters: what it ran.
        status: NNI's status; ``FAILED`` also for one that ended without a result.
        metrics: what it reported, or an empty dictionary.
        reason: why it failed, in one line, or None.
        folder: where its files are.
        started: milliseconds since 1970, or None.
        ended: the same.
        metric: the measure that judges it.
    """

    id: str
    sequence: int
    parameters: dict[str, Any]
    status: str
    metrics: dict[str, float]
    reason: str | None
    folder: Path
    started: int | None
    ended: int | None
    metric: Measure = field(default=METRIC, repr=False, kw_only=True)

    @cached_property
    def succeeded(self) -> bool:
        """Whether it has a result."""
        needed = [self.metric.name, *(name for name, size in SIZES.items() if not size.optional)]
        return all(finite.is_finite(self.metrics.get(name)) for name in needed)

    @cached_property
    def measures(self) -> dict[str, float]:
        """What it reported that is declared: its metric, then its sizes."""
        names = (name for name in SIZES if name in self.metrics)
        return {name: self.metrics[name] for name in (self.metric.name, *names)}

    @property
    def quality(self) -> float:
        """Its value of the metric that judges it."""
        return self.metrics[self.metric.name]

    @property
    def baseline(self) -> str | None:
        """The baseline it belongs to, if any."""
        return self.parameters.get("baseline")

    @property
    def model_file(self) -> Path:
        """Its model's state dict."""
        return self.folder / MODEL

    def own_text(self, name: str) -> str:
        """Return a text file of its own folder; nothing if there is none, or it lies elsewhere."""
        try:
            return "" if self.folder.is_symlink() else read_regular(self.folder / name).decode(errors="replace").strip()
        except OSError:
            return ""

    @property
    def doing(self) -> str:
        """What it is doing, where it runs and says so: ``training step 120 of 400, about 8 s left``."""
        return self.own_text(PROGRESS) if self.status == "RUNNING" else ""

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the trial wrote down beside what it reported (``kept``, ``dense``); nothing if that is damaged."""
        return self._read[0]

    @property
    def inexact(self) -> str:
        """A sentence if its network lost channels under norms, which makes it another function; else nothing."""
        left, channels = self.record.get("kept") or {}, self.record.get("channels") or {}
        lost = [name for name, total in channels.items() if name.startswith(WIDTH) and left.get(name, total) < total]
        if not lost:
            return ""
        return f"It is inexact: norms are taken over fewer channels than in the dense model ({', '.join(lost)})."

    @property
    def damage(self) -> str | None:
        """What is damaged about what it wrote down, if anything."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[dict[str, Any], str | None]:
        if self.folder.is_symlink():
            return {}, "its folder is a link"
        content, damage = read_object(self.folder / RESULT)
        if not all(isinstance(content.get(name, {}), dict) for name in ("measures", "kept", "dense", "channels")):
            return {}, f"{RESULT} does not hold what a trial writes"
        return content, damage


@dataclass(frozen=True)
class Experiment:
    """An experiment's results at one moment.

    Args:
        id: NNI's experiment id.
        folder: its folder.
        config: NNI's config, as the manager stored it.
        trials: in the order in which they were started.
        seconds: how long it has run in all.
        metric: the measure that judges its networks.
    """

    id: str
    folder: Path
    config: dict[str, Any]
    trials: list[Trial] = field(repr=False)
    seconds: float = field(default=0, kw_only=True)
    metric: Measure = field(default=METRIC, repr=False, kw_only=True)

    @property
    def name(self) -> str:
        """The config's ``experimentName``, or the id."""
        return self.config.get("experimentName") or self.id

    @property
    def out_of_time(self) -> bool:
        """Whether it has used all of the time that its config allows."""
        limit = self.config.get("maxExperimentDuration")
        return limit is not None and self.seconds >= read_duration(limit)

    @cached_property
    def settings(self) -> TrialCommand:
        """The settings in its trial command.

        Raises:
            UserError: it was not an AutoPrune experiment.
        """
        settings = TrialCommand.parse(self.config.get("trialCommand", ""))
        if settings is None:
            raise UserError(f"experiment {self.id} does not run `autoprune trial`: it has no pruning results")
        return settings

    @cached_property
    def sizes(self) -> dict[str, Measure]:
        """The measures of size and speed that its trials have, by name."""
        settings = TrialCommand.parse(self.config.get("trialCommand", ""))  # None: another's experiment
        asked = settings.optional if settings else ()
        return {name: size for name, size in SIZES.items() if not size.optional or name in asked}

    @property
    def objectives(self) -> tuple[str, ...]:
        """What its tuner optimises; the metric and MACs if the tuner knows one number only."""
        named = (self.config.get("tuner", {}).get("classArgs") or {}).get("objectives")
        return tuple(named or (self.metric.name, *DEFAULT_OBJECTIVES[1:]))

    @property
    def searched(self) -> list[Measure]:
        """The measures of its objectives."""
        return [named(name) or self.metric for name in self.objectives]

    @cached_property
    def constraints(self) -> tuple[Limit, ...]:
        """The limits that whatever is offered as the answer keeps within.

        Raises:
            UserError: the config has one that cannot be read.
        """
        return read_limits((self.config.get("tuner", {}).get("classArgs") or {}).get("constraints") or ())

    @cached_property
    def dense(self) -> dict[str, float] | None:
        """The dense model's measures, or None before the first trial has finished."""
        found = (dense for trial in self.trials if (dense := trial.record.get("dense")))
        return next((measures for measures in found if not finite.why_not(measures)), None)

    @property
    def dense_quality(self) -> float | None:
        """The dense model's value of the metric, or None before the first trial has finished."""
        return self.dense[self.metric.name] if self.dense else None

    @cached_property
    def candidates(self) -> list[Trial]:
        """The successful trials that the tuner proposed."""
        return [trial for trial in self.trials if trial.succeeded and not trial.baseline]

    @property
    def running(self) -> list[Trial]:
        """The trials that run, those that have run longest first."""
        return [trial for trial in self.trials if trial.status == "RUNNING"]

    @property
    def failed(self) -> list[Trial]:
        """The trials that failed."""
        return [trial for trial in self.trials if trial.status == "FAILED"]

    @property
    def ended(self) -> int:
        """How many trials have ended, well or not."""
        return sum(trial.status not in RUNNING for trial in self.trials)

    @property
    def counts(self) -> str:
        """How many trials have ended, failed, and were stopped: ``58 of 60 trials done, 2 failed, 1 stopped early``."""
        total = int(self.config.get("maxTrialNumber") or 0)
        stopped = sum(trial.status in STOPPED for trial in self.trials)
        words = [f"{self.ended} of {total or '?'} trials done", f"{len(self.failed)} failed"]
        return ", ".join(words + ([f"{stopped} stopped early"] if stopped else []))

    @cached_property
    def baselines(self) -> dict[str, list[Trial]]:
        """The successful trials of each baseline, by its name; the dense model's is none."""
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            if trial.succeeded and trial.baseline not in (None, baselines.DENSE):
                found.setdefault(trial.baseline, []).append(trial)
        return found

    @cached_property
    def prepared(self) -> list[Prepared]:
        """What was learnt before the search, one for each criterion with a supernet of its own."""
        return [each for each in self._prepared.values() if isinstance(each, Prepared)]

    @cached_property
    def network(self) -> Network | None:
        """The dense network's layers, or None as long as its trial has not written them down."""
        found = (read_network(trial.folder) for trial in self.trials if trial.baseline == baselines.DENSE)
        return next(filter(None, found), None)

    @cached_property
    def _prepared(self) -> dict[str, Prepared | UserError]:
        """What each trial that learnt something wrote down, or why that cannot be read, by its id."""
        found: dict[str, Prepared | UserError] = {}
        for trial in self.trials:
            if trial.baseline == baselines.DENSE and (file := trial.folder / prepared.FILE).is_file():
                try:
                    found[trial.id] = Prepared.read(file)
                except UserError as error:
                    found[trial.id] = error
        return found

    @property
    def damage(self) -> list[str]:
        """What is damaged about its files, a line each; all that can be read still counts."""
        lines = [f"trial {trial.id}: {trial.damage}" for trial in self.trials if trial.damage]
        lines += [f"trial {key}: {each}" for key, each in self._prepared.items() if isinstance(each, UserError)]
        damaged = read_fine_tuned(self.folder)[1]
        return lines + ([damaged] if damaged else [])

    def front(self, objectives: tuple[str, ...] | None = None) -> list[Trial]:
        """Return the Pareto-optimal candidates within the constraints, the best in the first objective first.

        It is empty as long as no candidate keeps within all of them.
        """
        by_id = {t.id: t for t in self.candidates if satisfies(self.constraints, t.metrics, self.dense, self.metric)}
        keys = pareto_front({key: trial.metrics for key, trial in by_id.items()}, objectives or self.objectives)
        return [by_id[key] for key in keys]

    def margins(self, trial: Trial) -> dict[str, float]:
        """Return how much better a trial is than each baseline at its size, by all baselines now known."""
        if self.dense is None:
            return {}
        measured = {name: [t.measures for t in trials] for name, trials in self.baselines.items()}
        return baselines.margins(trial.measures, self.dense, measured, self.metric)

    def trial(self, trial_id: str) -> Trial:
        """Return the trial called ``trial_id``.

        Raises:
            UserError: there is none.
        """
        for trial in self.trials:
            if trial.id == trial_id:
                return trial
        raise UserError(f"experiment {self.id} has no trial {trial_id}: see `autoprune pareto {self.id}`")


def read_duration(text: str | float) -> float:
    """Return the seconds in a duration as NNI writes it: a number of seconds, or ``90s``, ``30m``, ``2h``, ``1d``.

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(text).strip())
    if not found:
        raise UserError(f"a duration is written as 90s, 30m, 2h or 1d, not {text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
