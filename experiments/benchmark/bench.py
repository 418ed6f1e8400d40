"""One run's clock and records: a method asks it to judge networks until the time is up."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.errors import TrialFailure
from autoprune.prune.dense import Dense
from autoprune.results.candidate import Candidate
from autoprune.results.pareto import pareto_front
from autoprune.task.task import Splits, Task
from autoprune.trial.ancestry import Parent
from autoprune.trial.run import run_trial

OBJECTIVES = (("accuracy", "macs"), ("accuracy", "params"))
"""The two fronts that are compared."""


class TimeIsUp(Exception):
    """The budget is spent."""


@dataclass
class Judged:
    """A network whose validation accuracy is known.

    Args:
        time: seconds from the start of the run until it was known.
        parameters: of the candidate, and what was done to it beyond those.
        measures: ``accuracy`` on the validation split, ``params``, ``macs``.
        model: the network.
    """

    time: float
    parameters: dict[str, Any]
    measures: dict[str, float]
    model: nn.Module


@dataclass
class Bench:
    """What a method works with.

    Time is the CPU time of this process. With one thread and no waiting that is the wall-clock time on a free core,
    and it is not disturbed by what else the machine does.

    Args:
        task, data, dense: what is pruned.
        seed: of the method and of every recovery.
        budget: seconds.
        folder: for files of this run.
    """

    task: Task
    data: Splits
    dense: Dense
    seed: int
    budget: float
    folder: Path
    judged: list[Judged] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    _networks: dict[str, Parent] = field(default_factory=dict, init=False, repr=False)
    _started: float = field(default_factory=time.process_time, init=False, repr=False)

    def start(self) -> None:
        """Start the clock, with caches that no other run has filled; the dense model is given."""
        os.environ["AUTOPRUNE_CACHE"] = str(self.folder / "cache")
        self._started = time.process_time()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.process_time() - self._started

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            TimeIsUp: there is none.
        """
        if self.spent > self.budget:
            raise TimeIsUp

    def note(self, name: str) -> None:
        """Keep the time at which something was ready, for the record."""
        self.notes[name] = round(self.spent, 3)

    def judge(self, candidate: Candidate, repeat: int = 0, train: bool = True) -> Judged | None:
        """Carry a candidate out; None if it fails.

        Its parent, if it has one, was judged before; of several such, the one that was judged last.

        Args:
            repeat: another number gives its fine-tuning another seed.
            train: if not, only its batch norms are re-estimated.

        Raises:
            TimeIsUp: the budget was spent before its accuracy was known: it does not count.
        """
        self.check()
        task = self.task
        if not train:
            task = replace(task, recovery=replace(task.recovery, steps=0, bn_reestimation=8, batch_size=128))
        try:
            parent = self._networks[candidate.parent] if candidate.parent else None
            result = run_trial(task, candidate, self.data, self.dense, self.seed, repeat=1000 * repeat, parent=parent)
        except TrialFailure as failure:
            self.failures.append(str(failure))
            return None
        parameters = candidate.to_parameters() | ({"repeat": repeat} if repeat else {})
        if not train:
            parameters["trained"] = False
        self._networks[candidate.id] = Parent(result.model, result.kept, candidate)
        judged = Judged(round(self.spent, 3), parameters, result.measures, result.model)
        self.check()
        self.judged.append(judged)
        return judged

    def front(self) -> list[Judged]:
        """Return the networks on either front."""
        measures = {i: each.measures for i, each in enumerate(self.judged)}
        return [self.judged[i] for i in sorted({i for names in OBJECTIVES for i in pareto_front(measures, names)})]
