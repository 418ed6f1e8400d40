"""Optuna's multi-objective samplers as an NNI tuner."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from nni.tuner import Tuner
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.errors import UserError, unknown
from autoprune.search.pareto import DEFAULT_OBJECTIVES, DIRECTIONS, check_objectives

SAMPLERS = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
    "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=16),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Sampler name -> Optuna sampler for a seed."""

_log = logging.getLogger(__name__)


class OptunaTuner(Tuner):
    """Search for a whole Pareto front with one of Optuna's samplers.

    The study is kept in a journal file, which ``optuna-dashboard FILE`` opens and a resumed experiment continues. A
    candidate that was already judged is not run again: its result is told to the sampler at once.

    Args:
        objectives: names in :data:`autoprune.search.pareto.DIRECTIONS`, each taken from the trials' metrics.
        sampler: a name in :data:`SAMPLERS`.
        seed: of the sampler.
        storage: the journal file; ``optuna.journal`` in the experiment's ``checkpoint`` folder if None.

    Raises:
        UserError: an unknown objective or sampler, with the near matches.
    """

    STUDY = "autoprune"

    def __init__(
        self,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        sampler: str = "tpe",
        seed: int = 0,
        storage: str | None = None,
    ) -> None:
        self.validate(objectives, sampler)
        self.objectives = tuple(objectives)
        self._file = Path(storage or Path(os.environ.get("NNI_CHECKPOINT_DIRECTORY", "."), "optuna.journal"))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.study = optuna.create_study(
            study_name=self.STUDY,
            storage=JournalStorage(JournalFileBackend(str(self._file))),
            directions=[DIRECTIONS[name] for name in self.objectives],
            load_if_exists=True,
        )
        self.study.set_metric_names(list(self.objectives))
        # A restarted sampler of the same seed would propose its first points once more.
        self.study.sampler = SAMPLERS[sampler](seed + len(self.study.get_trials(deepcopy=False)))
        self._numbers: dict[int, int] = {}

    @staticmethod
    def validate(objectives: Sequence[str] = DEFAULT_OBJECTIVES, sampler: str = "tpe", **_: Any) -> None:
        """Check the arguments of the constructor without starting a study.

        Raises:
            UserError: an unknown objective or sampler, with the near matches.
        """
        check_objectives(objectives)
        if sampler not in SAMPLERS:
            raise unknown("sampler", sampler, SAMPLERS)

    def update_search_space(self, search_space: Mapping[str, Mapping[str, Any]]) -> None:
        """Take NNI's search space.

        Raises:
            UserError: a ``_type`` that Optuna has no distribution for.
        """
        self._distributions = {name: to_distribution(name, entry) for name, entry in search_space.items()}

    def generate_parameters(self, parameter_id: int, **_: Any) -> dict[str, Any]:
        """Ask the sampler for a candidate that was not judged before (or give up after 50 tries and repeat one)."""
        for _attempt in range(50):
            trial = self.study.ask(self._distributions)
            parameters = _rounded(trial.params)
            judged = self._find(parameters, TrialState.COMPLETE)
            if judged is None:
                break
            self.study.tell(trial, judged.values)
        self._numbers[parameter_id] = trial.number
        return parameters

    def receive_trial_result(self, parameter_id: int, parameters: Any, value: Any, **_: Any) -> None:
        """Tell the sampler a trial's metrics, a dictionary that has every objective."""
        self._tell(self._numbers.pop(parameter_id), value)

    def trial_end(self, parameter_id: int, success: bool, **_: Any) -> None:
        """Tell the sampler of a trial that ended without a result."""
        if not success and parameter_id in self._numbers:
            self.study.tell(self._numbers.pop(parameter_id), state=TrialState.FAIL)

    def import_data(self, data: Sequence[Mapping[str, Any]]) -> None:
        """Take the results that a resumed experiment already has; those that the study knows are not counted twice."""
        for entry in data:
            parameters, value = _rounded(entry["parameter"]), entry["value"]
            running = self._find(parameters, TrialState.RUNNING)
            if running is not None:
                self._tell(running.number, value)
            elif self._find(parameters, TrialState.COMPLETE) is None and set(parameters) == set(self._distributions):
                values = self._values(value)
                if values:
                    self.study.add_trial(
                        create_trial(params=parameters, distributions=self._distributions, values=values)
                    )

    def _tell(self, number: int, value: Any) -> None:
        values = self._values(value)
        if values is None:
            _log.warning("trial %d reported %s: not a finite number for each of %s", number, value, self.objectives)
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, values)

    def _values(self, value: Any) -> list[float] | None:
        if not isinstance(value, Mapping):
            return None
        values = [value.get(name) for name in self.objectives]
        finite = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        return [float(v) for v in values] if finite else None

    def _find(self, parameters: Mapping[str, Any], state: TrialState) -> FrozenTrial | None:
        for trial in self.study.get_trials(deepcopy=False, states=(state,)):
            if _rounded(trial.params) == parameters:
                return trial
        return None


def to_distribution(name: str, entry: Mapping[str, Any]) -> BaseDistribution:
    """Turn one entry of NNI's search space into Optuna's distribution.

    Raises:
        UserError: there is none for its ``_type``.
    """
    kind, value = entry["_type"], entry["_value"]
    if kind == "choice":
        return CategoricalDistribution(value)
    if kind == "randint":
        return IntDistribution(value[0], value[1] - 1)
    if kind in ("uniform", "loguniform"):
        return FloatDistribution(value[0], value[1], log=kind == "loguniform")
    if kind == "quniform":
        low, high, step = value
        steps = math.floor((high - low) / step + 1e-6)
        return FloatDistribution(low, round(low + steps * step, 9), step=step)
    known = "choice, quniform, uniform, loguniform or randint"
    raise UserError(f"search space: {name} has the _type {kind!r}, which OptunaTuner does not know: use {known}")


def _rounded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Take the noise of floating-point steps (0.30000000000000004) out of parameters, so that they compare equal."""
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in parameters.items()}
