"""Optuna's multi-objective samplers as a tuner."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.base.checked import make
from autoprune.errors import UserError
from autoprune.results.candidate import Candidate, schedule_of
from autoprune.results.measures import MEASURES, SIZES, metric_among
from autoprune.results.pareto import costs, size_of
from autoprune.results.prepared import Prepared
from autoprune.search import halving
from autoprune.search.distributions import holds, rounded, to_distribution
from autoprune.search.forecast import Forecast
from autoprune.search.quiet import quiet_optuna
from autoprune.search.tuners.base import Metrics, Tuner
from autoprune.search.tuners.optuna.chain import Chain
from autoprune.search.tuners.optuna.points import point_of, spelled
from autoprune.search.tuners.optuna.samplers import COSTLY, SAMPLERS
from autoprune.search.tuners.optuna.settings import OptunaSettings
from autoprune.search.tuners.optuna.size_limits import SizeLimits
from autoprune.search.tuners.optuna.storage import check_study, find_study, open_storage, open_study

__all__ = ["SAMPLERS", "OptunaTuner", "to_distribution"]

ATTEMPTS, REFUSALS = 20, 5
"""How often a sampler is asked for a candidate that is new and within the limits, before one is drawn at random; and
how many of its proposals may be too large before one is made smaller."""

COSTLY_ATTEMPTS, COSTLY_REFUSALS = 4, 1
"""The same for samplers that take seconds for each."""

NO_DENSE = (
    "constraints: a drop is counted from the dense model's metric, which the trial that prepares the "
    "search measures: take --no-warm-start out of the trial command, or limit the metric itself"
)

_log = logging.getLogger(__name__)


class OptunaTuner(Tuner):
    """Search for a whole Pareto front with one of Optuna's samplers.

    The study is kept in a journal file or a database, which ``optuna-dashboard`` opens and a resumed experiment
    continues. A candidate that was already judged is not run again: its result is told to the sampler at once. With
    rungs, candidates start on a small budget, and the best of them go on (see :mod:`autoprune.search.halving`); the
    sampler learns from the first rung, and each further one has a study of its own.

    Args:
        **arguments: see :class:`.OptunaSettings`.

    Attributes:
        studies: one for each rung; the first, of which the sampler learns, is also ``study``.

    Raises:
        UserError: an argument is wrong, or the storage cannot be opened.
    """

    __signature__ = inspect.signature(OptunaSettings)

    @quiet_optuna()
    def __init__(self, **arguments: Any) -> None:
        self.settings = make(OptunaSettings, **arguments)
        seed, sampler = self.settings.seed, self.settings.sampler
        self.objectives, self.limits = tuple(self.settings.objectives), self.settings.limits
        self._patience = (COSTLY_ATTEMPTS, COSTLY_REFUSALS) if sampler in COSTLY else (ATTEMPTS, REFUSALS)
        self._storage = open_storage(self.settings.storage)
        self.studies = [self._open(0)]
        self.study = self.studies[0]
        trials = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = SAMPLERS[sampler](seed, trials)
        self._rng = np.random.default_rng([seed, trials])
        self._forecast = Forecast()
        self._chain = Chain()
        self._trained: dict[str, Mapping[str, Any]] = {}
        self._metric = metric_among(self.objectives)
        self._dense_quality: float | None = self.study.user_attrs.get("dense accuracy")
        self._running: dict[int, tuple[int, optuna.Trial]] = {}
        self._identities: dict[tuple[int, int], Hashable] = {}
        self._early: list[tuple[Mapping[str, Any], Any]] = []

    @staticmethod
    def validate(**arguments: Any) -> None:
        """Check the arguments of the constructor without starting a study.

        Raises:
            UserError: one is wrong; for unknown names with the near matches.
        """
        make(OptunaSettings, **arguments)

    @staticmethod
    def check_search(space: Mapping[str, Mapping[str, Any]], warm_start: bool, **arguments: Any) -> None:
        """Check the constructor's arguments, and that a search over ``space`` can begin with them.

        Args:
            space: in NNI's format, checked already.
            warm_start: whether the search is prepared.

        Raises:
            UserError: it cannot.
        """
        settings = make(OptunaSettings, **arguments)
        distributions = {name: to_distribution(name, entry) for name, entry in space.items()}
        if not warm_start and settings.counts_a_drop:
            raise UserError(NO_DENSE)
        if settings.storage is not None and (study := find_study(settings.storage, settings.study)) is not None:
            check_study(study, settings.first_objectives, distributions)

    @quiet_optuna()
    def update_search_space(self, search_space: Mapping[str, Mapping[str, Any]]) -> None:
        """Take NNI's search space.

        Raises:
            UserError: a ``_type`` that Optuna has no distribution for, or the storage has a study of another space.
        """
        self._distributions = {name: to_distribution(name, entry) for name, entry in search_space.items()}
        check_study(self.study, self.study.metric_names or (), self._distributions)
        schedules = search_space.get("schedule", {"_value": [Candidate.schedule]})["_value"]
        rungs = max(len(self._budgets(name)) for name in schedules) if self.settings.rungs else 1
        self.studies[1:] = [self._open(rung) for rung in range(1, rungs)]

    @quiet_optuna()
    def prepare(self, prepared: Sequence[Prepared]) -> None:
        """Take what was learnt before the search: the dense model's metric, the sizes, and candidates to try first.

        The candidates of a study that has had them already are not queued again.

        Raises:
            UserError: no candidate of the search space keeps within the constraints on its size.
        """
        if not prepared:
            return
        self._forecast = Forecast(prepared[0].sizes, prepared[0].unstructured)
        self._identities.clear()
        self._metric = MEASURES[prepared[0].metric]
        self._dense_quality = prepared[0].dense[self._metric.name]
        self.study.set_user_attr("dense accuracy", self._dense_quality)
        early, self._early = self._early, []
        self.resume(early)
        self._sizes.check()
        self._chain = self._chain_of(prepared[0])
        if not self.study.user_attrs.get("warm start"):
            for parameters in self._first(prepared):
                self.study.enqueue_trial(parameters, skip_if_exists=True)
            self.study.set_user_attr("warm start", True)

    @quiet_optuna()
    def ask(self, number: int) -> dict[str, Any]:
        """Return the next candidate: one that is promoted, or else a new one that the sampler proposes.

        It was not judged before, unless the search space holds hardly any other.
        """
        if self._dense_quality is None and self.settings.counts_a_drop:
            raise UserError(NO_DENSE)
        rung, trial = self._promotion() or (0, self._new())
        self._running[number] = (rung, trial)
        parameters = rounded(trial.params)
        if self.settings.rungs:
            parameters["budget"] = self._budgets(schedule_of(parameters))[rung]
            if rung and schedule_of(parameters) in halving.UNTRAINED_FIRST:
                parent = self._chain.parent_of(parameters, self._trained)
                parameters |= {} if parent is None else {"parent": parent}
        return parameters

    @quiet_optuna()
    def tell(self, number: int, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        """Tell the study of the trial's rung its metrics, which have every objective, or that it failed."""
        rung, trial = self._running.pop(number)
        if metrics is None:
            self.studies[rung].tell(trial, state=TrialState.FAIL)
        else:
            self._tell(rung, trial, metrics)
            self._note_trained(rung, parameters)

    @quiet_optuna()
    def resume(self, results: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
        """Take the results that a resumed experiment already has; those that the studies know are not counted twice."""
        if self._dense_quality is None and self.settings.counts_a_drop:
            self._early += results  # they cannot be judged before the dense model's metric is known
            return
        for given, metrics in results:
            parameters = spelled(rounded(given), self._distributions)
            rung = halving.rung_of(parameters, self.settings.reduction) if self.settings.rungs else 0
            self._note_trained(rung, parameters)
            parameters = {key: value for key, value in parameters.items() if key not in ("budget", "parent")}
            if rung >= len(self.studies) or set(parameters) != set(self._distributions):
                continue
            study = self.studies[rung]
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            trial = next((each for each in running if rounded(each.params) == parameters), None)
            if trial is not None:
                self._tell(rung, optuna.Trial(study, trial._trial_id), metrics)
            elif self._state(rung, parameters) is not TrialState.COMPLETE:
                self._add(rung, parameters, metrics)

    def _note_trained(self, rung: int, parameters: Mapping[str, Any]) -> None:
        """Note a network that others can be cut from: of this search, for another's of the same study is not here."""
        if rung:
            with suppress(UserError):  # what is no candidate, which others may have brought
                self._trained[Candidate.from_parameters(parameters).id] = rounded(parameters)

    def _open(self, rung: int) -> optuna.Study:
        objectives = self.objectives if rung else self.settings.first_objectives
        directions = [MEASURES[name].direction if name in MEASURES else "maximize" for name in objectives]
        name = f"{self.settings.study} rung {rung}" if rung else self.settings.study
        study = open_study(self._storage, name, objectives, directions)
        if rung:
            study.sampler = optuna.samplers.RandomSampler(seed=0)  # is never asked for a value
        return study

    def _new(self) -> optuna.Trial:
        """Ask the sampler for a candidate that is new and not too large."""
        refused, (attempts, refusals) = 0, self._patience
        for _attempt in range(attempts):
            trial = self.study.ask(self._distributions)
            if self._refuse(trial):
                refused += 1
                if refused % refusals == 0:
                    self._enqueue_smaller(trial.params)
            elif not self._repeats(trial):
                return trial
        for _attempt in range(10 * ATTEMPTS):
            parameters = self._sizes.draw()
            smaller = self._sizes.smaller(parameters)
            if smaller is not None and self._state(0, smaller) is None:
                self.study.enqueue_trial(smaller)
                break
        else:
            self._enqueue_smaller(self._sizes.draw())
        for _attempt in range(ATTEMPTS):  # another machine's may come first
            trial = self.study.ask(self._distributions)
            if not self._refuse(trial):
                return trial
        raise UserError(f"nothing found in the search space that keeps within {self._sizes}: loosen it")

    def _refuse(self, trial: optuna.Trial) -> bool:
        """Tell the sampler of a proposal that is known to be too large, without running it.

        One that lies outside of the search space is from a damaged storage.
        """
        if not all(holds(each, trial.params[name]) for name, each in self._distributions.items()):
            self.study.tell(trial, state=TrialState.FAIL)
            return True
        violations = self._sizes.violations(trial.params)
        if all(value <= 0 for value in violations.values()):
            return False
        self._constrain(trial, violations)
        # Pruned with its violations: TPE learns from it, the others, which learn from results, leave it out.
        self.study.tell(trial, state=TrialState.PRUNED)
        return True

    def _repeats(self, trial: optuna.Trial) -> bool:
        """Tell the sampler of a proposal that was run before, or is running, without running it again."""
        same = self._find(0, trial.params, but=trial.number)
        if same is None:
            return False
        if same.state is TrialState.COMPLETE:
            self._constrain(trial, same.constraints)
            trial.set_user_attr("measures", same.user_attrs.get("measures"))
            self.study.tell(trial, same.values)
        else:
            self.study.tell(trial, state=TrialState.FAIL)
        return True

    def _enqueue_smaller(self, parameters: Mapping[str, Any]) -> None:
        smaller = self._sizes.smaller(parameters)
        if smaller is not None:
            self.study.enqueue_trial(smaller)

    @property
    def _sizes(self) -> SizeLimits:
        return SizeLimits(self._distributions, self.limits, self._forecast, self._rng)

    def _first(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Return the candidates to try first, as points of the search space, each once."""
        found: dict[Hashable, dict[str, Any]] = {}
        for parameters in (each for one in prepared for each in one.first):
            point = point_of(Candidate.from_parameters(parameters), self._distributions)
            if point is not None and self._sizes.excess(point) <= 0:
                found.setdefault(self._forecast.identity(point), point)
        return list(found.values())

    def _promotion(self) -> tuple[int, optuna.Trial] | None:
        """Return the trial of a candidate that goes on to the next rung, the highest first."""
        for rung in reversed(range(1, len(self.studies))):
            study, below = self.studies[rung], self._judged(rung - 1)
            begun = study.get_trials(deepcopy=False)
            if not any(trial.state is TrialState.WAITING for trial in begun):
                promoted = {self._identity(rung, trial) for trial in begun}
                point = self._chain.next(rung, below, promoted, self.settings.reduction)
                if point is None:
                    continue
                study.enqueue_trial(point)
            return rung, study.ask(self._distributions)
        return None

    def _chain_of(self, prepared: Prepared) -> Chain:
        """Return the networks of equal sparsities that are trained in full; none where no supernet prepares them."""
        if not self.settings.rungs or prepared.schedule not in halving.UNTRAINED_FIRST:
            return Chain(self._forecast)
        size = size_of(self.objectives, metric=self._metric)
        fits = lambda point: self._sizes.excess(point) <= 0  # noqa: E731
        return Chain.over(self._forecast, self._distributions, prepared, size, fits)

    def _budgets(self, schedule: str) -> tuple[float, ...]:
        return halving.budgets(schedule, self.settings.reduction, self.settings.recoveries)

    def _judged(self, rung: int) -> dict[Hashable, tuple[halving.Judged, FrozenTrial]]:
        """Return each candidate's result on a rung."""
        found: dict[Hashable, tuple[halving.Judged, FrozenTrial]] = {}
        for trial in self.studies[rung].get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            measures, key = trial.user_attrs.get("measures"), self._identity(rung, trial)
            if not measures or key in found:
                continue
            violations = self._violations(measures)
            too_large = any(v > 0 for name, v in violations.items() if name in SIZES)
            further = len(self._budgets(schedule_of(trial.params))) > rung + 1
            violation = sum(max(0.0, value) for value in violations.values())
            judged = halving.Judged(key, self._costs(measures), violation, further and not too_large)
            found[key] = (judged, trial)
        return found

    def _costs(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Return what is minimised; sizes as logarithms, for crowding is even along a front of ratios."""
        found = zip(self.objectives, costs(measures, self.objectives), strict=True)
        return tuple(math.log(max(value, 1e-9)) if name in SIZES else value for name, value in found)

    def _tell(self, rung: int, trial: optuna.Trial, value: Any) -> None:
        study, measures = self.studies[rung], _finite(value)
        missing = self._missing(rung, measures)
        if missing:
            _log.warning("trial %d reported %s: not a finite number for %s", trial.number, value, ", ".join(missing))
            study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_user_attr("measures", measures)
        self._constrain(trial, self._violations(measures))
        study.tell(trial, self._values(rung, measures))

    def _constrain(self, trial: optuna.Trial, violations: Mapping[str, float]) -> None:
        if not self.settings.scalar:  # CMA-ES has no use for them, and says so each time
            for name, violation in violations.items():
                trial.set_constraint(name, violation)

    def _add(self, rung: int, parameters: Mapping[str, Any], value: Any) -> None:
        """Add a result that none of the studies' trials brought."""
        measures = _finite(value)
        if self._missing(rung, measures):
            return
        try:
            trial = create_trial(
                params=dict(parameters),
                distributions=self._distributions,
                values=self._values(rung, measures),
                user_attrs={"measures": measures},
                constraints=self._violations(measures) or None,
            )
        except ValueError as error:
            _log.warning("a result is left out, it is not of this search space: %s", error)
            return
        self.studies[rung].add_trial(trial)

    def _values(self, rung: int, measures: Mapping[str, float]) -> list[float]:
        return [measures[name] for name in self.studies[rung].metric_names or ()]

    def _violations(self, measures: Mapping[str, float]) -> dict[str, float]:
        return {limit.measure: limit.violation(measures, self._dense_quality, self._metric) for limit in self.limits}

    def _missing(self, rung: int, measures: Mapping[str, float]) -> list[str]:
        limited = [self._metric.name if limit.measure == "drop" else limit.measure for limit in self.limits]
        needed = [*(self.studies[rung].metric_names or ()), *self.objectives, *limited]
        return [name for name in dict.fromkeys(needed) if name not in measures]

    def _identity(self, rung: int, trial: FrozenTrial) -> Hashable:
        key = (rung, trial.number)
        if key in self._identities:
            return self._identities[key]
        identity = self._forecast.identity(rounded(trial.params))
        if trial.state.is_finished():  # another machine's may still lack parameters
            self._identities[key] = identity
        return identity

    def _find(self, rung: int, parameters: Mapping[str, Any], but: int | None = None) -> FrozenTrial | None:
        """Return the rung's trial of a candidate, a finished one first; not one that was refused."""
        identity, found = self._forecast.identity(rounded(parameters)), None
        states = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL)
        for trial in self.studies[rung].get_trials(deepcopy=False, states=states):
            if trial.number != but and trial.params and self._identity(rung, trial) == identity:
                if trial.state is TrialState.COMPLETE:
                    return trial
                found = trial
        return found

    def _state(self, rung: int, parameters: Mapping[str, Any]) -> TrialState | None:
        found = self._find(rung, parameters)
        return found.state if found else None


def _finite(value: Any) -> dict[str, float]:
    """Return those of a trial's metrics that are finite numbers."""
    if not isinstance(value, Mapping):
        return {}
    return {name: float(v) for name, v in value.items() if isinstance(v, int | float) and math.isfinite(v)}
