"""The front, fine-tuned to the end: each network several times over, with other seeds."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from autoprune.base.files import replacing, write_json
from autoprune.base.progress import track
from autoprune.base.tree import weights_of
from autoprune.errors import TrialFailure
from autoprune.export import load_pruned
from autoprune.finalize.final import fine_tuned_of
from autoprune.finalize.lineage import in_full, is_complete, trials_of
from autoprune.measure.latency import pinned
from autoprune.prune.dense import Dense
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned, write_fine_tuned
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation
from autoprune.train.interval import FEW, Parts, drop_error, parts_of
from autoprune.trial.ancestry import find_parent
from autoprune.trial.run import run_trial

Loaded = tuple[Task, Splits, Dense]


def fine_tune_all(
    experiment: Experiment,
    loaded: Loaded,
    trials: Iterable[Trial],
    seeds: int = 3,
    processes: int = 1,
) -> dict[str, FineTuned]:
    """Fine-tune the networks of some trials to the end, with several seeds, and look at the test split at last.

    Each outcome is kept in the experiment's folder as soon as it is there, and not worked out again. A trial that the
    search had recovered in full stands for the first seed.

    Args:
        seeds: how often each network is fine-tuned.
        processes: how many at a time, on one thread each; on another device than the CPU one.

    Returns:
        What came out, by trial id. Where a fine-tuning fails, or its process is killed twice, the network stays as it
        was judged, with the reason among the failures.
    """
    known = fine_tuned_of(experiment)
    trials = list(trials)
    missing = [trial for trial in trials if len(known.get(trial.id, _NOTHING).validation) < seeds]
    jobs = [_Job(experiment, loaded, trial, repeat) for trial in missing for repeat in range(seeds)]
    done = {job: outcome for job in jobs if (outcome := job.outcome) is not None}
    if len(done) < len(jobs):
        dense = _parts(loaded, loaded[2].model)
        jobs = [job if job in done else replace(job, dense=dense) for job in jobs]
    outcomes = _run_jobs([job for job in jobs if job not in done], processes)
    for job, outcome in track(outcomes, "fine-tuning", len(jobs), len(done)):
        done[job] = outcome
    for trial in missing:
        mine = [done[job] for job in jobs if job.trial is trial]
        known[trial.id] = FineTuned(
            before=trial.quality,
            validation=tuple(each.validation for each in mine),
            test=tuple(each.test for each in mine),
            file=min(mine, key=lambda each: loaded[0].metric.cost(each.validation)).file,
            steps=0 if is_complete(trial) else _steps(experiment, trial, loaded[0]),
            failures=tuple(each.failure for each in mine if each.failure),
            errors=tuple(each.error for each in mine if each.error is not None),
        )
    if missing:
        write_fine_tuned(experiment.folder, known)
    return {trial.id: known[trial.id] for trial in trials if trial.id in known}


def _steps(experiment: Experiment, trial: Trial, task: Task) -> int:
    return round((in_full(experiment, trial).budget or 1.0) * task.recovery.steps)


_NOTHING = FineTuned(0.0, (), (), Path(), 0)


def _parts(loaded: Loaded, model: nn.Module) -> Parts | None:
    """Return what a model makes of each part of the validation split; None where they are not to be told."""
    task, data, _ = loaded
    return None if task.own_evaluation is not None else parts_of(task, model, data.validation, FEW)


@dataclass(frozen=True, eq=False)
class _Job:
    """One fine-tuning of one network. Its outcome is a file, which outlives whoever waited for it."""

    experiment: Experiment
    loaded: Loaded
    trial: Trial
    repeat: int
    dense: Parts | None = None

    @property
    def on_device(self) -> bool:
        """Whether the networks are trained elsewhere than on the CPU: then no process can be forked for it."""
        return self.loaded[2].device.type != "cpu"

    @property
    def outcome(self) -> _Outcome | None:
        try:
            content = json.loads(self._file("json").read_text())
            return _Outcome(**content | {"file": Path(content["file"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def known_outcome(self) -> _Outcome:
        """The outcome of a job that is over."""
        outcome = self.outcome
        assert outcome is not None
        return outcome

    @pinned(1)
    def run(self) -> None:
        try:
            if self.repeat == 0 and is_complete(self.trial):
                self._record(load_pruned(self.loaded[0], self.trial.model_file), self.trial.model_file)
            else:
                self._record(*self._tuned())
        except TrialFailure as error:  # it diverged
            self.fail(str(error))
        except Exception as error:
            traceback.print_exc()
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, reason: str) -> None:
        """Leave the network as it was judged."""
        line = " ".join(f"trial {self.trial.id}, fine-tuning {self.repeat}: {reason}".split())
        self._record(load_pruned(self.loaded[0], self.trial.model_file), self.trial.model_file, line)

    def _tuned(self) -> tuple[nn.Module, Path]:
        task, data, dense = self.loaded
        settings = self.experiment.settings
        candidate = in_full(self.experiment, self.trial)
        parent = find_parent(task, candidate.parent, trials_of(self.experiment)) if candidate.parent else None
        seed, round_to = settings.seed, settings.round_to
        model = run_trial(task, candidate, data, dense, seed, round_to, repeat=self.repeat, parent=parent).model
        with replacing(self._file("pt")) as draft:
            torch.save(weights_of(model), draft)
        return model, self._file("pt")

    def _record(self, model: nn.Module, file: Path, failure: str | None = None) -> None:
        task, data, dense = self.loaded
        model = model.to(dense.device)
        validation, test = (evaluation.quality(task, model, split) for split in (data.validation, data.test))
        error = None
        if self.dense is not None and (parts := _parts(self.loaded, model)) is not None:
            error = drop_error(parts, self.dense, self.experiment.settings.seed)
        outcome = _Outcome(validation, test, file, failure, error)
        write_json(self._file("json"), outcome._asdict() | {"file": str(file)})

    def _file(self, suffix: str) -> Path:
        folder = self.experiment.folder / "recovered"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.trial.id}-{self.repeat}.{suffix}"


class _Outcome(NamedTuple):
    validation: float
    test: float
    file: Path
    failure: str | None = None
    error: float | None = None


def _run_jobs(jobs: list[_Job], processes: int) -> Iterator[tuple[_Job, _Outcome]]:
    """Yield each job with its outcome as soon as it is there.

    Each has a process of its own, which models and data reach by fork. One that is killed is tried once more. On
    another device than the CPU they run here, one after the other: a forked process cannot use it.
    """
    if processes == 1 or len(jobs) < 2 or jobs[0].on_device:
        for job in jobs:
            job.run()
            yield job, job.known_outcome
        return
    context = multiprocessing.get_context("fork")
    waiting, killed = deque(jobs), set[_Job]()
    running: dict[int, tuple[multiprocessing.context.ForkProcess, _Job]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                process = context.Process(target=_work, args=(waiting[0], os.getpid()))
                process.start()
                running[process.sentinel] = process, waiting.popleft()
            ended = multiprocessing.connection.wait(list(running))
            for sentinel in [each for each in running if each in ended]:
                process, job = running.pop(sentinel)
                process.join()
                if job.outcome is None and job not in killed:
                    killed.add(job)
                    waiting.appendleft(job)
                    continue
                if job.outcome is None:
                    job.fail(f"its process {_end_of(process.exitcode)}, twice")
                yield job, job.known_outcome
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _work(job: _Job, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    job.run()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _end_of(exit_code: int | None) -> str:
    assert exit_code is not None  # it has ended
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with status {exit_code}"
