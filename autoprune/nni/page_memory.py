"""What the page was told, and what was worked out for it: neither is done again where nothing changed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from autoprune.results.experiment import Experiment, Trial

Pair = tuple[str, ...]
"""Measures whose front is asked for."""


class Changes:
    """What a page was told, so that it need not be told again."""

    def __init__(self) -> None:
        self.are_known = False
        self._run, self._version = "", 0
        self._others: dict[str, tuple[int, Any]] = {}
        self._trials: dict[str, tuple[int, dict[str, Any]]] = {}
        self._texts: dict[str, tuple[int, str]] = {}

    def learn(self, content: dict[str, Any]) -> None:
        """Take what the page shows now; versions go up with each."""
        self._version += 1
        trials = {trial["id"]: trial for trial in content["trials"]}
        if not self._run or self._trials.keys() - trials.keys():  # another database: who asks is told everything
            self._run, self._trials, self._texts, self._others = secrets.token_hex(4), {}, {}, {}
        self._note(self._trials, trials)
        changed = [(key, value) for key, (version, value) in self._trials.items() if version == self._version]
        self._texts |= {key: (self._version, to_json(value)) for key, value in changed}
        self._note(self._others, {key: value for key, value in content.items() if key != "trials"})
        self.are_known = True

    def _note(self, known: dict[str, tuple[int, Any]], now: Mapping[str, Any]) -> None:
        for key, value in now.items():
            if key not in known or (known[key][1] is not value and known[key][1] != value):
                known[key] = self._version, value

    def since(self, version: object, more: Mapping[str, Any]) -> str:
        """Return as JSON what is new to somebody who knows a version, or everything, if that is none of ours.

        Args:
            more: what is always told.
        """
        run, _, number = str(version or "").partition(".")
        now = {"version": f"{self._run}.{self._version}", **more}
        if version == now["version"]:
            return to_json(now)
        known = int(number) if run == self._run and number.isdecimal() else 0
        others = {key: value for key, (changed, value) in self._others.items() if changed > known}
        trials = ", ".join(text for changed, text in self._texts.values() if changed > known)
        rest = to_json(now | others | {"whole": not known})
        return f'{{"trials": [{trials}], {rest[1:]}'


class Memory:
    """What was worked out of an experiment, and is right as long as the trials that it is about stay what they are."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[Trial, object, Any]] = {}
        self._seen: dict[str, Trial] = {}
        self._dense: dict[str, float] | None = None
        self._fronts: dict[Pair, list[str]] = {}

    def recall(self, kind: str, trial: Trial, context: object, work_out: Callable[[], Any]) -> Any:
        """Return something about a trial; ``context`` is all else that it depends on."""
        known = self._found.get((kind, trial.id))
        if known is None or known[0] is not trial or known[1] != context:
            self._found[kind, trial.id] = known = trial, context, work_out()
        return known[2]

    def fronts(self, experiment: Experiment, pairs: Iterable[Pair]) -> dict[Pair, list[str]]:
        """Return the ids of the front of each pair of measures.

        What others dominate stays dominated: only those on a front before, and those that are new, are looked at.
        """
        trials = {trial.id: trial for trial in experiment.trials}
        is_as_before = all(trials.get(key) is trial for key, trial in self._seen.items())
        fewer = experiment
        if is_as_before and self._dense == experiment.dense and self._fronts:
            wanted = {key for front in self._fronts.values() for key in front} | (trials.keys() - self._seen.keys())
            first = next((trial.id for trial in experiment.trials if trial.record.get("dense")), None)
            fewer = replace(experiment, trials=[t for t in experiment.trials if t.id in wanted or t.id == first])
        self._fronts = {pair: [trial.id for trial in fewer.front(pair)] for pair in pairs}
        self._seen, self._dense = {trial.id: trial for trial in experiment.candidates}, experiment.dense
        return self._fronts


def to_json(content: Any) -> str:
    """Return one line; what is no number in JSON (NaN, infinity) becomes null."""
    try:
        return json.dumps(content, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None))
