"""Reading experiments from NNI's files: its registry, and the database of each experiment."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprune.errors import UserError
from autoprune.nni.rescue import rescued
from autoprune.results import finite
from autoprune.results.experiment import ENDED, FAILURE, RUNNING, Experiment, Trial
from autoprune.results.measures import MEASURES, METRIC, Measure
from autoprune.results.settings import TrialCommand


def find_experiment(experiment_id: str) -> Path:
    """Return an experiment's folder; the id ``latest`` is the one started last.

    Raises:
        UserError: NNI knows no such experiment.
    """
    known = registry()
    if experiment_id == "latest" and known:
        experiment_id = max(known, key=lambda key: known[key]["startTime"])
    if experiment_id not in known:
        recent = sorted(known, key=lambda key: known[key]["startTime"])[-3:]
        hint = f"the latest are {', '.join(reversed(recent))}" if recent else "there is none yet"
        raise UserError(f"no experiment {experiment_id!r}: {hint}; `nnictl experiment list --all` shows all")
    return Path(known[experiment_id]["logDir"]).expanduser() / experiment_id


def registry() -> dict[str, dict[str, Any]]:
    """Return NNI's registry of experiments, by id; a damaged one as far as the experiments' folders tell."""
    file = Path("~/nni-experiments/.experiment").expanduser()
    content: Any = None
    for _attempt in range(5):
        try:
            content = json.loads(file.read_text())
            break
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):  # NNI does not write it in one go
            time.sleep(0.05)
    entries = content if isinstance(content, dict) else rescued(file)
    fit = {key: each for key, each in entries.items() if isinstance(each, dict) and isinstance(each.get("logDir"), str)}
    return {key: each | {"startTime": _number(each.get("startTime"))} for key, each in fit.items()}


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def open_experiment(experiment_id: str) -> Experiment:
    """Return an experiment that was asked for by its id, or ``latest``; say on stderr what is damaged about it.

    Raises:
        UserError: NNI knows no such experiment, or its database cannot be read.
    """
    experiment = load_experiment(find_experiment(experiment_id))
    for line in experiment.damage:
        print(f"autoprune: experiment {experiment.id} is damaged: {line}", file=sys.stderr)
    return experiment


def load_experiment(folder: Path) -> Experiment:
    """Read an experiment from its folder.

    Raises:
        UserError: the folder has no database, or one that cannot be read.
    """
    return Reader(folder).read()


class Reader:
    """Reads an experiment again and again: of trials of which the database has nothing new, what was read stays.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._forget()

    def _forget(self) -> None:
        self._read = {"TrialJobEvent": (0, 0), "MetricData": (0, 0)}  # by table: how many rows, and the last one's id
        self._begun: dict[str, dict[str, Any]] = {}
        self._metrics: dict[str, Any] = {}
        self._trials: dict[str, Trial] = {}
        self._metric: Measure | None = None

    def read(self) -> Experiment:
        """Return the experiment as it is now.

        Raises:
            UserError: the folder has no database, or one that cannot be read.
        """
        folder, file = self._folder, self._folder / "db" / "nni.sqlite"
        if not file.is_file():
            raise UserError(f"experiment {folder.name} has no database at {file}: was it deleted?")
        # Not mode=ro: what a killed manager left half-written could then not be rolled back, and nothing be read.
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=10)) as db:
                return self._read_database(db)
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
            self._forget()
            why = (
                " ".join(f"{error}".split()) if isinstance(error, sqlite3.Error) else "it does not hold what NNI writes"
            )
            raise UserError(f"experiment {folder.name} is damaged: its database {file} cannot be read: {why}") from None

    def _read_database(self, db: sqlite3.Connection) -> Experiment:
        db.row_factory = sqlite3.Row
        folder = self._folder
        profiles = db.execute("select * from ExperimentProfile order by revision desc limit 1").fetchall()
        profile = dict(profiles[0]) if profiles else {"params": "{}"}
        if profile.get("id", folder.name) != folder.name:
            raise sqlite3.DatabaseError(f"it is that of experiment {profile['id']}")
        config = dict(json.loads(profile["params"]))
        metric = _metric(config)
        if metric != self._metric or not all(self._has_grown(db, table) for table in self._read):
            self._forget()
            self._metric = metric
        for key in self._read_news(db):
            trial = _trial(key, self._begun.get(key, {}), folder)
            if trial:
                self._trials[key] = replace(_finish(trial, self._metrics.get(key), folder), metric=metric)
        trials = sorted(self._trials.values(), key=lambda trial: trial.sequence)
        seconds = float(profile.get("execDuration") or 0)
        return Experiment(folder.name, folder, config, trials, seconds=seconds, metric=metric)

    def _has_grown(self, db: sqlite3.Connection, table: str) -> bool:
        """Say whether the rows of a table that were read are still there."""
        count, last = self._read[table]
        return db.execute(f"select count(*) from {table} where rowid <= ?", (last,)).fetchone()[0] == count

    def _read_news(self, db: sqlite3.Connection) -> dict[str, None]:
        """Read what rows there are beyond those that were; return the trials' ids, in their order."""
        changed: dict[str, None] = {}
        events = self._rows(db, "TrialJobEvent", "timestamp, trialJobId, event, data, sequenceId")
        for timestamp, key, event, data, sequence in events:
            if key:
                changed[key] = None
                _note(self._begun.setdefault(key, dict(UNKNOWN_TRIAL)), timestamp, event, data, sequence)
        for key, kind, data in self._rows(db, "MetricData", "trialJobId, type, data"):
            if kind == "FINAL":
                changed[key] = None
                self._metrics[key] = json.loads(json.loads(data))
        return changed

    def _rows(self, db: sqlite3.Connection, table: str, columns: str) -> list[list[Any]]:
        count, last = self._read[table]
        query = f"select rowid, {columns} from {table} where rowid > ? order by rowid"
        rows = [list(row) for row in db.execute(query, (last,))]
        self._read[table] = count + len(rows), rows[-1][0] if rows else last
        return [row[1:] for row in rows]


def _metric(config: dict[str, Any]) -> Measure:
    """Return the measure that judges an experiment's networks."""
    try:
        settings = TrialCommand.parse(str(config.get("trialCommand", "")))
    except UserError:  # whoever asks for its settings hears of it
        return METRIC
    return settings.measure if settings else METRIC


UNKNOWN_TRIAL: Mapping[str, Any] = {"started": None, "ended": None, "status": "WAITING", "parameters": {}}


def _note(trial: dict[str, Any], timestamp: Any, event: str, data: str | None, sequence: Any) -> None:
    """Note in what is known of a trial what happened to it."""
    if data and event in RUNNING:  # the first event of a trial brings its parameters
        trial |= {"parameters": json.loads(data)["parameters"], "sequence": int(sequence)}
    if event in ENDED:
        trial |= {"status": event, "ended": int(timestamp)}
    elif event in RUNNING:  # once more, if it was interrupted
        trial |= {"status": event, "ended": None}
    if event == "RUNNING":
        trial["started"] = int(timestamp)


def _trial(key: str, known: Mapping[str, Any], folder: Path) -> Trial | None:
    """Return a trial as its events tell, or None before the first of them brought its number."""
    if "sequence" not in known:
        return None
    root = folder / "environments" / "local-env" / "trials"
    return Trial(id=key, folder=root / key, metrics={}, reason=None, **known)


def _finish(trial: Trial, metrics: Any, folder: Path) -> Trial:
    if not isinstance(trial.parameters, dict):  # somebody sent them to NNI's API
        reason = f"its parameters are {json.dumps(trial.parameters)}, where names with values belong"
        return replace(trial, parameters={}, status="FAILED", reason=reason)
    changes: dict[str, Any] = {"metrics": metrics if isinstance(metrics, dict) else {}}
    wrong = finite.why_not({name: value for name, value in changes["metrics"].items() if name in MEASURES})
    if wrong:  # of a search that did not look
        return replace(trial, status="FAILED", reason=wrong)
    changes["metrics"] = {name: value for name, value in changes["metrics"].items() if finite.is_finite(value)}
    ended_empty = trial.status == "SUCCEEDED" and not changes["metrics"]
    if trial.status == "FAILED" or ended_empty:
        changes["status"] = "FAILED"
        changes["reason"] = trial.own_text(FAILURE) or f"ended without a result: see {trial.folder / 'trial.stderr'}"
    return replace(trial, **changes)
