"""The front, fine-tuned to the end: each network several times over, with other seeds."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from autoprune import training
from autoprune.candidate import Candidate
from autoprune.dense import Dense
from autoprune.errors import TrialFailure
from autoprune.experiment.results import Experiment, Trial
from autoprune.export import load_pruned
from autoprune.latency import pinned
from autoprune.pruning.schedules import SCHEDULES
from autoprune.report.final import Recovered
from autoprune.report.recovered import recovered_of, write_recovered
from autoprune.task import Splits, Task
from autoprune.trial import run_trial

MOST = 12
"""Networks of a front that are fine-tuned; of more, as many as lie evenly along it."""

Loaded = tuple[Task, Splits, Dense]


def on_shared_weights(trial: Trial) -> bool:
    """Return whether a trial took its weights from the recovery that all candidates share."""
    return SCHEDULES[trial.parameters.get("schedule", Candidate.schedule)].retrain == "shared"


def is_complete(trial: Trial) -> bool:
    """Return whether a trial was recovered with the whole budget."""
    budget = trial.parameters.get("budget")
    return budget == 1 or (budget is None and not on_shared_weights(trial))


def members(front: Sequence[Trial]) -> list[Trial]:
    """Return the networks of a front to fine-tune: each once, the one with the largest budget, not more than MOST."""
    by_content: dict[str, Trial] = {}
    for trial in front:
        content = replace(Candidate.from_parameters(trial.parameters), budget=None).id
        known = by_content.get(content)
        if known is None or (trial.parameters.get("budget") or 0) > (known.parameters.get("budget") or 0):
            by_content[content] = trial
    found = list(by_content.values())
    if len(found) <= MOST:
        return found
    return [found[round(i * (len(found) - 1) / (MOST - 1))] for i in range(MOST)]


def recover_all(
    experiment: Experiment,
    loaded: Loaded,
    trials: Iterable[Trial],
    seeds: int = 3,
    processes: int = 1,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Recovered]:
    """Fine-tune the networks of some trials to the end, with several seeds, and look at the test split at last.

    What was done before is kept in the experiment's folder, and not done again. A trial that the search had recovered
    in full stands for the first seed.

    Args:
        seeds: how often each network is fine-tuned.
        processes: how many at a time, on one thread each.
        on_done: called with how many fine-tunings are over, and how many there are.

    Returns:
        What came out, by trial id.
    """
    known = recovered_of(experiment)
    missing = [trial for trial in trials if len(known.get(trial.id, _NOTHING).validation) < seeds]
    jobs = [_Job(experiment, loaded, trial, repeat) for trial in missing for repeat in range(seeds)]
    done: list[_Outcome] = []
    for outcome in _carried_out(jobs, processes):
        done.append(outcome)
        on_done(len(done), len(jobs))
    for trial in missing:
        mine = [outcome for job, outcome in zip(jobs, done, strict=True) if job.trial is trial]
        known[trial.id] = Recovered(
            before=trial.measures["accuracy"],
            validation=tuple(each.validation for each in mine),
            test=tuple(each.test for each in mine),
            file=max(mine, key=lambda each: each.validation).file,
            steps=0 if is_complete(trial) else loaded[0].recovery.steps,
        )
    if missing:
        write_recovered(experiment, known)
    return {trial.id: known[trial.id] for trial in trials if trial.id in known}


_NOTHING = Recovered(0.0, (), (), Path(), 0)


class _Job(NamedTuple):
    experiment: Experiment
    loaded: Loaded
    trial: Trial
    repeat: int

    @pinned(1)
    def run(self) -> _Outcome:
        task, data, dense = self.loaded
        model, file = load_pruned(task, self.trial.model_file), self.trial.model_file
        with contextlib.suppress(TrialFailure):  # a fine-tuning that diverged leaves the network as it was judged
            if not (self.repeat == 0 and is_complete(self.trial)):
                model, file = self._tuned()
        accuracies = (training.accuracy(model, split) for split in (data.validation, data.test))
        return _Outcome(*accuracies, file)

    def _tuned(self) -> tuple[nn.Module, Path]:
        task, data, dense = self.loaded
        settings = self.experiment.settings
        candidate = replace(Candidate.from_parameters(self.trial.parameters), budget=1.0)
        how = {"seed": settings.seed, "round_to": settings.round_to, "repeat": self.repeat}
        model = run_trial(task, candidate, data, dense, **how).model
        file = self.experiment.folder / "recovered" / f"{self.trial.id}-{self.repeat}.pt"
        file.parent.mkdir(exist_ok=True)
        torch.save(model.state_dict(), file)
        return model, file


class _Outcome(NamedTuple):
    validation: float
    test: float
    file: Path


_jobs: list[_Job] = []


def _run(number: int) -> _Outcome:
    return _jobs[number].run()


def _carried_out(jobs: list[_Job], processes: int) -> Iterable[_Outcome]:
    """Yield the outcome of each job, in order; models and data reach the processes by fork."""
    if processes == 1 or len(jobs) < 2:
        yield from (job.run() for job in jobs)
        return
    _jobs[:] = jobs
    with multiprocessing.get_context("fork").Pool(processes, _leave_interrupts_to_the_parent) as pool:
        yield from pool.imap(_run, range(len(jobs)))
    _jobs.clear()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # leaving the pool ends its processes
