"""A trial as NNI starts it, ``autoprune trial TASK [options]``: forked from the warm process, in a worker or alone."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from pathlib import Path

from autoprune.errors import UserError
from autoprune.report.waiting import noted
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import PROGRESS
from autoprune.results.measures import Measure
from autoprune.results.settings import TrialCommand
from autoprune.trial import record


def main(words: list[str]) -> int:
    """Run one trial for NNI and return the exit status: 0, or 1 for a failure whose reason is in ``failure.txt``."""
    return _recorded(lambda: TrialRunner(words).execute())


def _recorded(trial) -> int:
    """Call ``trial``; turn an exception into a recorded failure."""
    try:
        trial()
    except Exception as error:
        return _record(error)
    return 0


def _record(error: Exception) -> int:
    """Record why a trial failed, and return its exit status."""
    if not record.is_known(error):
        traceback.print_exception(error)
    print(f"autoprune trial failed: {record.record_failure(error, _folder())}", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1


class TrialRunner:
    """All that the trials of an experiment have in common, loaded once: imports, task, data, dense model.

    Args:
        words: what follows ``autoprune trial``.
    """

    def __init__(self, words: list[str]) -> None:
        self.settings = TrialCommand.from_words(words)
        os.environ["OMP_NUM_THREADS"] = "1"  # two busy processes of two threads each run many times slower
        import nni.compression.pruning  # noqa: F401
        import torch

        from autoprune.trial.setup import load_settings

        torch.set_num_threads(1)
        torch.optim.SGD([torch.zeros(1)])  # imports torch._dynamo, which takes seconds
        self.task, self.data, self.dense = load_settings(self.settings)
        assert self.dense.groups is not None
        self.groups = self.dense.groups
        self.channels = {group.name: group.channels for group in self.groups}
        if self.settings.latency == "onnxruntime":
            from autoprune.trial import reference_latency

            reference_latency.reference_ms(self.dense, self.task.example, "onnxruntime", self.settings.latency_batch)

    def run(self) -> int:
        """Run one trial in a forked process and return the exit status."""
        return _recorded(self._execute_forked)

    def _execute_forked(self) -> None:
        _adopt_trial()
        self.execute()

    def execute(self) -> None:
        """Ask NNI for parameters, run the trial, and report."""
        import nni

        from autoprune.nni.bridge.serializer import receive_plain_json

        receive_plain_json()
        folder = _folder()
        parameters = nni.get_next_parameter()
        if not isinstance(parameters, dict | None):
            raise UserError(f"the parameters must map names to values, not be {parameters!r:.80}")
        candidate = Candidate.from_parameters(parameters or {})

        sizes: dict[str, float] = {}
        metric = self.task.metric
        assert isinstance(metric, Measure)

        def report(quality: float) -> None:
            if not sizes:  # most trials have nothing to report on the way
                sizes.update(self._sizes(candidate))
            measures = {metric.name: quality} | sizes
            budget = {} if candidate.budget is None else {"budget": candidate.budget}
            default_metric = record.default_metric(measures, self.dense.measures, self.settings.size_weight, metric)
            nni.report_intermediate_result(default_metric | measures | budget)

        loaded = (self.task, self.data, self.dense)
        with noted(folder / PROGRESS):
            result = record.execute(self.settings, loaded, self.channels, candidate, folder, report)
        nni.report_final_result(result)

    def _sizes(self, candidate: Candidate) -> dict[str, float]:
        """Return the ``params`` and ``macs`` at which a candidate ends; of sparse ones, the least that is possible."""
        from autoprune.prune.criteria import get_criterion
        from autoprune.prune.size_model import size_model

        candidate = candidate.spread({group.name: group.kind for group in self.groups})
        asked = {name: candidate.of(name) for name in self.channels}
        if not get_criterion(candidate.criterion).structured:
            dense = self.dense.measures
            return {"params": dense["params"] * (1 - max(asked.values())), "macs": dense["macs"]}
        sizes = size_model(self.dense.model, self.task.example, self.groups, self.settings.round_to)
        return sizes.sizes(asked)


class LivingTrials:
    """One trial after the other in a process that lives; the first loads what all have in common.

    Args:
        words: what follows ``autoprune trial``.
    """

    usable = True
    """Whether a further trial would find what one in a process of its own finds."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._runner: TrialRunner | None = None

    def run(self) -> int:
        """Run the trial that the environment tells of; return its exit status."""
        output = sys.stdout
        try:
            self._execute()
        except Exception as error:
            self.usable = record.is_known(error)  # after any other error nobody knows what is left of the device
            return _record(error)
        finally:
            sys.stdout = output  # nni puts its own there for each trial
        return 0

    def clean(self) -> None:
        """Give the memory that trials had back to the device: other workers may need it."""
        if self._runner is not None:
            from autoprune.base import memory

            gc.collect()
            memory.give_back()

    def _execute(self) -> None:
        if self._runner is None:
            from autoprune.base import streams

            self._runner = TrialRunner(self._words)
            self._chance = streams.State.now()
            gc.freeze()  # what is there for good need not be looked at after each trial
        self._chance.restore()
        _adopt_trial()
        self._runner.execute()


def _adopt_trial() -> None:
    """Let ``nni``, imported for another trial or for none, see that this process is this trial."""
    import importlib
    import logging

    import nni.runtime.env_vars
    import nni.runtime.log
    import nni.runtime.trial_command_channel
    import nni.trial

    logging.getLogger().handlers.clear()
    for module in (nni.runtime.env_vars, nni.runtime.log, nni.trial):
        importlib.reload(module)
    nni.runtime.log._init_logger()
    nni.runtime.trial_command_channel.set_default_trial_command_channel()


def _folder() -> Path:
    return Path(os.environ.get("NNI_OUTPUT_DIR", "."))
