"""Our tuners and assessors as NNI calls them, and NNI's tuners as our loop calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nni
from nni.assessor import Assessor as NniAssessorBase
from nni.assessor import AssessResult
from nni.tuner import Tuner as NniTunerBase

from autoprune.results.prepared import Prepared
from autoprune.search.assessor import Assessor
from autoprune.search.tuners.base import Metrics, NoMoreCandidates, Parameters, Tuner


class ServedTuner(NniTunerBase):
    """One of our tuners, as NNI's dispatcher calls it.

    Args:
        original: the tuner.
    """

    def __init__(self, original: Tuner) -> None:
        self.original = original
        self._running: dict[int, Parameters] = {}

    def update_search_space(self, search_space: Mapping[str, Any]) -> None:
        """Pass the search space on."""
        self.original.update_search_space(search_space)

    def prepare(self, prepared: Sequence[Prepared]) -> None:
        """Take what the dense model's trials wrote down (called by :class:`autoprune.nni.tuner_host.Dispatcher`)."""
        self.original.prepare(prepared)

    def generate_parameters(self, parameter_id: int, **_: Any) -> Parameters:
        """Ask the tuner."""
        try:
            parameters = self.original.ask(parameter_id)
        except NoMoreCandidates as error:
            raise nni.NoMoreTrialError(str(error)) from error
        self._running[parameter_id] = parameters
        return parameters

    def receive_trial_result(self, parameter_id: int, parameters: Any, value: Any, **_: Any) -> None:
        """Tell the tuner; NNI calls this before ``trial_end``, and not at all for a trial without a result."""
        if self._running.pop(parameter_id, None) is not None:
            self.original.tell(parameter_id, parameters, _metrics(value))

    def trial_end(self, parameter_id: int, success: bool, **_: Any) -> None:
        """Tell the tuner of a trial that ended without a result."""
        parameters = self._running.pop(parameter_id, None)
        if parameters is not None:
            self.original.tell(parameter_id, parameters, None)

    def import_data(self, data: Sequence[Mapping[str, Any]]) -> None:
        """Pass earlier results on."""
        self.original.resume([(entry["parameter"], _metrics(entry["value"])) for entry in data])


class NniTuner(Tuner):
    """One of NNI's tuners, as our loop calls it: it optimises the metric ``default``.

    Args:
        original: the tuner, such as ``nni.algorithms.hpo.tpe_tuner.TpeTuner("maximize", seed=0)``. Not an advisor, and
            none that waits for other trials (PBT), since the loop runs one at a time.
    """

    def __init__(self, original: NniTunerBase) -> None:
        self.original = original

    def update_search_space(self, search_space: Mapping[str, Any]) -> None:
        """Pass the search space on."""
        self.original.update_search_space(search_space)

    def ask(self, number: int) -> Parameters:
        """Return the tuner's next parameters."""
        try:
            return self.original.generate_parameters(number)
        except nni.NoMoreTrialError as error:
            raise NoMoreCandidates(str(error)) from error

    def tell(self, number: int, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        """Pass the result and the end of a trial on."""
        if metrics is not None:
            self.original.receive_trial_result(number, parameters, metrics)
        self.original.trial_end(number, metrics is not None)

    def resume(self, results: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
        """Pass earlier results on."""
        self.original.import_data([{"parameter": parameters, "value": metrics} for parameters, metrics in results])


class ServedAssessor(NniAssessorBase):
    """One of our assessors, as NNI's dispatcher calls it.

    Args:
        original: the assessor.
    """

    def __init__(self, original: Assessor) -> None:
        self.original = original

    def assess_trial(self, trial_job_id: str, trial_history: Sequence[Any]) -> AssessResult:
        """Ask the assessor."""
        return AssessResult.Good if self.original.goes_on(trial_job_id, trial_history) else AssessResult.Bad

    def trial_end(self, trial_job_id: str, success: bool) -> None:
        """Pass the end of a trial on."""
        self.original.end(trial_job_id, success)


def served(algorithm: Any) -> Any:
    """Return a tuner or an assessor as NNI calls it: ours in its adapter, NNI's as it is."""
    if isinstance(algorithm, Tuner):
        return ServedTuner(algorithm)
    return ServedAssessor(algorithm) if isinstance(algorithm, Assessor) else algorithm


def _metrics(value: Any) -> Metrics:
    """Return what a trial reported as metrics: a plain value is NNI's one number."""
    return value if isinstance(value, Mapping) else {"default": value}
