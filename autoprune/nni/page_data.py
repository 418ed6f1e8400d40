"""What the pages in the browser show of an experiment, worked out here and sent as JSON.

``python -m autoprune.nni.page_data FOLDER`` is started by NNI's manager when a page first asks (bridge/page_data.js).
It answers questions, one on each line of its input, until the input ends, which it does with the manager:

    {"ask": "page", "since": VERSION}     what the Pareto page shows, see :meth:`Pages.answer`
    {"ask": "trial", "trial": ID}         more of one trial, see :func:`details`
    {"ask": "names"}                      what trials are called, see :func:`names`
    {"ask": "choice", "rule": "knee"}     {"trial": ID, "reason": ...}, see :func:`choice`
    {"ask": "network", "trial": ID}       a drawing of it, or of the dense model, see :func:`network`
    {"ask": "searches"}                   which other searches there are, see :class:`.Others`
    {"ask": "beside", "other": ID}        this search and another one, see :func:`.versus`
    {"ask": "learned", "known": OF}       what the search learned, unless it is known, see :class:`.Learned`

An answer is one line as well: an HTTP status, a space, and JSON; ``{"error": "one line"}`` if the status is not 200.
PyTorch is not imported, nor is anything that takes long.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from functools import partial
from itertools import combinations_with_replacement, compress, pairwise, repeat
from pathlib import Path
from typing import Any

from autoprune.base.progress import share
from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.final import fine_tuned_of
from autoprune.nni.learned_data import Learned
from autoprune.nni.page_memory import Changes, Memory, to_json
from autoprune.nni.page_source import SEEN, Others, Source, stamp_of
from autoprune.report.drawing import draw_network
from autoprune.report.kept import channels, kept
from autoprune.report.progress import by_end, hypervolume_by_trial
from autoprune.report.rows import cell, name
from autoprune.results.candidate import PREFIX
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.measures import Measure
from autoprune.results.pareto import check_objectives, size_of

MOST_DOING = 8
"""Trials under way of which the page says what they do."""

MOST_VOLUMES = 500
"""Points of the hypervolume's plot that are all drawn."""

YOUNG = 100_000
"""Objects between two looks for garbage: of thousands of trials all stays, and looking takes as long as reading."""

NICE = 10
"""The search comes first."""


class Pages:
    """The answers about one experiment.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source, self._others = Source(folder), Others(folder)
        self._experiment: Experiment | None = None
        self._names: tuple[int, str] | None = None
        self._memory = Memory()
        self._changes = Changes()
        self._learned = Learned(folder)

    def close(self) -> None:
        """End what works in the background."""
        self._learned.close()

    def answer(self, question: Mapping[str, Any]) -> tuple[int, str]:
        """Return an HTTP status and one line of JSON.

        The page's has a ``version``, by which the next question says what is known already: then ``trials`` are only
        those that are new or have changed, and where nothing has, ``version`` and ``doing`` are all there is.
        """
        try:
            experiment = self._source.load()
        except UserError as error:  # the database: the next look may find it whole
            return 503, to_json({"error": str(error)})
        if experiment is not self._experiment:
            self._experiment, self._names, self._changes.are_known = experiment, None, False
        match question:
            case {"ask": "page", **more}:
                return _answer(self._page, experiment, more.get("since"), write=str)
            case {"ask": "names"}:
                self._names = self._names or _answer(names, experiment)
                return self._names
            case {"ask": "trial", "trial": str(trial)}:
                return _answer(details, experiment, trial)
            case {"ask": "choice", "rule": str(rule)}:
                return _answer(choice, experiment, rule)
            case {"ask": "network"}:
                return _answer(network, experiment, question.get("trial"))
            case {"ask": "searches"}:
                return _answer(self._others.listed)
            case {"ask": "beside", "other": str(other)}:
                return _answer(self._others.beside, experiment, other)
            case {"ask": "learned"}:
                return 200, to_json(self._what_was_learned(experiment, question.get("known")))
        return 400, to_json({"error": "no such question"})

    def _page(self, experiment: Experiment, since: object) -> str:
        if not self._changes.are_known:
            self._changes.learn(page(experiment, self._memory))
        return self._changes.since(since, {"doing": doing(experiment)})

    def _what_was_learned(self, experiment: Experiment, known: object) -> dict[str, Any]:
        others = [stamp_of(self._folder / each) for each in SEEN[1:]]
        found = self._learned.latest(f"{len(experiment.candidates)} {others}")
        return {key: found[key] for key in ("of", "working")} if found["of"] == known else found


def _answer(work_out: Callable[..., Any], *arguments: Any, write: Callable[[Any], str] = to_json) -> tuple[int, str]:
    try:
        return 200, write(work_out(*arguments))
    except UserError as error:
        return 422, to_json({"error": str(error)})
    except Exception as error:
        traceback.print_exc()
        return 500, to_json({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})


def page(experiment: Experiment, memory: Memory | None = None) -> dict[str, Any]:
    """Return all that the Pareto page shows, as plain values: trials, which of them are what, and words for all.

    Args:
        memory: of when the same experiment was last asked for.
    """
    memory = memory or Memory()
    metric, dense = experiment.metric, experiment.dense
    size = size_of(check_objectives(experiment.objectives), metric=metric)
    measures, groups = _measures(experiment), channels(experiment)
    begin = min((trial.started for trial in experiment.trials if trial.started), default=0)
    volumes = _growth(experiment, size)
    recovered = fine_tuned_of(experiment)
    pairs = list(combinations_with_replacement(measures, 2))
    fronts = memory.fronts(experiment, {*pairs, experiment.objectives})
    by_id = {trial.id: trial for trial in experiment.trials}
    front = [by_id[key] for key in fronts[experiment.objectives]]
    about = dense, groups, {key: [trial.id for trial in trials] for key, trials in experiment.baselines.items()}

    def entry(trial: Trial) -> dict[str, Any]:
        own = groups if trial.id in on_front else {}, recovered.get(trial.id)
        return memory.recall("entry", trial, (about, own), partial(_trial, experiment, trial, *own))

    def shares(trial: Trial) -> list[float | None]:
        return [kept(experiment, trial, group, total)[0] for group, total in groups.items()]

    on_front = {trial.id for trial in front}
    return {
        "metric": metric.name,
        "measures": [each.declaration() for each in measures.values()],
        "id": experiment.id,
        "name": experiment.config.get("experimentName") or "AutoPrune",
        "total": experiment.config.get("maxTrialNumber"),
        "ended": experiment.ended,
        "counts": experiment.counts,
        "constraints": [limit.words for limit in experiment.constraints],
        "dense": dense and {"measures": dense, "texts": [each.write(dense[key]) for key, each in measures.items()]},
        "trials": [entry(trial) for trial in experiment.trials],
        "baselines": {key: [trial.id for trial in trials] for key, trials in experiment.baselines.items()},
        "front": [trial.id for trial in front],
        "fronts": {" ".join(pair): fronts[pair] for pair in pairs},
        "volume": {
            "size": size,
            "minutes": [ended and round((ended - begin) / 60_000, 5) for ended, _ in volumes],
            "values": [round(volume, 7) for _, volume in volumes],
        },
        "groups": list(groups),
        "kept": {trial.id: memory.recall("kept", trial, about, partial(shares, trial)) for trial in front},
    }


def _growth(experiment: Experiment, size: str) -> list[tuple[int | None, float]]:
    """Return when the hypervolume was which; of very many, only where it grew, and the last."""
    volumes = hypervolume_by_trial(experiment, size)
    ended = [trial.ended for trial in by_end(experiment.candidates)][: len(volumes)]
    grown = [a != b for a, b in pairwise([None, *volumes])]
    is_wanted = grown[:-1] + [True] if len(volumes) > MOST_VOLUMES else repeat(True)
    return list(compress(zip(ended, volumes, strict=True), is_wanted))


def _trial(
    experiment: Experiment, trial: Trial, groups: Mapping[str, int], recovered: FineTuned | None
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": trial.id,
        "number": trial.sequence,
        "name": f"{trial.sequence}: {name(experiment, trial)}",
        "status": trial.status,
        "baseline": trial.baseline,
        "reason": trial.reason,
        "parameters": ", ".join(
            f"{key} {value}" for key, value in trial.parameters.items() if not key.startswith(PREFIX)
        ),
    }
    if not trial.succeeded:
        return values | {"measures": None}
    dense, metric = experiment.dense or {}, experiment.metric
    cells = [cell(each, trial.measures.get(key), dense.get(key)) for key, each in _measures(experiment).items()]
    margins = {} if trial.baseline else experiment.margins(trial)
    tried = {"validation": recovered.validation, "test": recovered.test} if recovered else {}
    return values | {
        "measures": trial.measures,
        "texts": [each.text for each in cells],
        "compared": [each.words for each in cells],
        "margins": {key: [value, metric.difference(value)] for key, value in margins.items()},
        "kept": [kept(experiment, trial, group, total)[1] for group, total in groups.items()],
        "recovered": {split: ", ".join(map(metric.write, each)) for split, each in tried.items()},
    }


def details(experiment: Experiment, trial_id: str) -> dict[str, Any]:
    """Return what the page shows of a trial beside its measures: its parameters and what it keeps, in words.

    Raises:
        UserError: there is no such trial.
    """
    trial = experiment.trial(trial_id)
    groups = channels(experiment) if trial.succeeded else {}
    return {
        "id": trial.id,
        "parameters": {key: str(value) for key, value in trial.parameters.items()},
        "kept": {group: kept(experiment, trial, group, total)[1] for group, total in groups.items()},
    }


def doing(experiment: Experiment) -> list[dict[str, Any]]:
    """Return what the trials that have run longest are doing, in words, and which share of it is done, if known."""
    return [
        {
            "id": trial.id,
            "name": f"{trial.sequence}: {name(experiment, trial)}",
            "started": trial.started,
            "words": (words := trial.doing),
            "share": share(words),
        }
        for trial in experiment.running[:MOST_DOING]
    ]


def names(experiment: Experiment) -> dict[str, Any]:
    """Return what NNI's web UI is told: the metric that judges, and what each trial is called."""
    called = {trial.id: name(experiment, trial) for trial in experiment.trials}
    return {"metric": experiment.metric.name, "names": called}


def choice(experiment: Experiment, rule: str) -> dict[str, Any]:
    """Return the trial that a rule picks, or why none does, as ``refused``."""
    try:
        trial, reason = choose_trial(experiment, rule.strip())
    except UserError as error:
        return {"refused": str(error)}
    return {"trial": trial.id, "reason": reason}


def network(experiment: Experiment, trial_id: str | None) -> dict[str, Any]:
    """Return a drawing of a trial's network, or of the dense one: title, words and SVG; or why not, as ``refused``.

    It is ``settled`` if the layers are known, not only their groups.

    Raises:
        UserError: there is no such trial.
    """
    trial = experiment.trial(trial_id) if trial_id else None
    if trial and not trial.succeeded:
        return {"refused": "This trial has no result."}
    drawing = draw_network(experiment, trial)
    if drawing is None and trial:
        return {"refused": "What this network keeps is not known here: it is in a file of the trial's."}
    if drawing is None:
        return {"refused": "The network is known once the first trial has ended."}
    return asdict(drawing) | {"settled": experiment.network is not None}


def _measures(experiment: Experiment) -> dict[str, Measure]:
    return {experiment.metric.name: experiment.metric} | experiment.sizes


def main(folder: Path) -> None:
    """Answer until nobody asks any more."""
    os.nice(NICE)
    gc.set_threshold(YOUNG)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the manager's
    pages = Pages(folder)
    with closing(pages), os.fdopen(os.dup(1), "w") as answers, suppress(BrokenPipeError):
        os.dup2(2, 1)  # whatever else prints, prints into the log
        for line in sys.stdin:
            status, text = pages.answer(json.loads(line))
            print(status, text, file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
