"""Optuna's multi-objective samplers as a tuner."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import Field

from autoprune.base.checked import Seed, Text, check
from autoprune.errors import UserError, unknown
from autoprune.results.candidate import PREFIX, Candidate
from autoprune.results.limits import read_limits
from autoprune.results.measures import MEASURES, SIZES, metric_among
from autoprune.results.pareto import DEFAULT_OBJECTIVES, check_objectives, costs
from autoprune.results.prepared import Prepared
from autoprune.search import halving
from autoprune.search.distributions import draw, grid, holds, nearest, rounded, to_distribution
from autoprune.search.known import Known, shrink
from autoprune.search.tuners.base import Metrics, Tuner
from autoprune.search.tuners.optuna.samplers import COSTLY, SAMPLERS, SCALAR
from autoprune.search.tuners.optuna.storage import check_storage, check_study, find_study, open_storage, open_study

__all__ = ["SAMPLERS", "OptunaTuner", "to_distribution"]

ATTEMPTS, REFUSALS = 20, 5
"""How often a sampler is asked for a candidate that is new and within the limits, before one is drawn by chance; and
how many of its proposals may be too large before one is made smaller."""

COSTLY_ATTEMPTS, COSTLY_REFUSALS = 4, 1
"""The same for samplers that take seconds for each."""

NO_DENSE = (
    "constraints: a drop is counted from the dense model's metric, which the trial that prepares the "
    "search measures: take --no-warm-start out of the trial command, or write accuracy>=0.98"
)

_log = logging.getLogger(__name__)


class OptunaTuner(Tuner):
    """Search for a whole Pareto front with one of Optuna's samplers.

    The study is kept in a journal file or a database, which ``optuna-dashboard`` opens and a resumed experiment
    continues. A candidate that was already judged is not run again: its result is told to the sampler at once. With
    rungs, candidates start on a small budget, and the best of them go on (see :mod:`autoprune.search.halving`); the
    sampler learns from the first rung, and each further one has a study of its own.

    Args:
        objectives: names in :data:`autoprune.results.measures.MEASURES`, each taken from the trials' metrics.
        sampler: a name in :data:`autoprune.search.tuners.optuna.samplers.SAMPLERS`.
        seed: of the sampler.
        storage: a journal file, or an URL such as ``sqlite:///study.db``; if None, ``optuna.journal`` in the
            experiment's ``checkpoint`` folder, or memory outside of NNI.
        constraints: limits such as ``drop<=1%`` (see :mod:`autoprune.results.limits`). Proposals whose ``params`` or
            ``macs`` are known to lie beyond one are not run.
        rungs: whether candidates start on a small budget.
        reduction: one in how many candidates of a rung goes on, and how many times the budget grows.
        study: the study's name in the storage. Tuners that name the same study of the same storage share it.

    Raises:
        UserError: an argument is wrong, or the storage cannot be opened.
    """

    STUDY = "autoprune"

    def __init__(
        self,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        sampler: str = "tpe",
        seed: int = 0,
        storage: str | None = None,
        constraints: Sequence[str] = (),
        rungs: bool = True,
        reduction: int = 3,
        study: str = STUDY,
    ) -> None:
        self.validate(objectives, sampler, seed, storage, constraints, rungs, reduction, study)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.objectives = tuple(objectives)
        self.limits = read_limits(constraints or ())
        self.reduction = reduction
        self._rungs = rungs
        self._scalar = sampler in SCALAR
        self._patience = (COSTLY_ATTEMPTS, COSTLY_REFUSALS) if sampler in COSTLY else (ATTEMPTS, REFUSALS)
        self._storage = open_storage(storage)
        self._name = study
        self._studies = [self._open(0)]
        self.study = self._studies[0]
        told = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = SAMPLERS[sampler](seed, told)
        self._rng = np.random.default_rng([seed, told])
        self._known = Known()
        self._metric = metric_among(self.objectives)
        self._dense_quality: float | None = self.study.user_attrs.get("dense accuracy")
        self._running: dict[int, tuple[int, optuna.Trial]] = {}
        self._identities: dict[tuple[int, int], Hashable] = {}
        self._early: list[tuple[Mapping[str, Any], Any]] = []

    @staticmethod
    def validate(
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        sampler: str = "tpe",
        seed: int = 0,
        storage: str | None = None,
        constraints: Sequence[str] = (),
        rungs: bool = True,
        reduction: int = 3,
        study: str = STUDY,
    ) -> None:
        """Check the arguments of the constructor without starting a study.

        Raises:
            UserError: one is wrong; for unknown names with the near matches.
        """
        check_objectives(objectives)
        if not isinstance(sampler, str) or sampler not in SAMPLERS:
            raise unknown("sampler", sampler, SAMPLERS)
        read_limits(() if constraints is None else constraints)
        check_storage(storage)
        check("seed", seed, Seed)
        check("reduction", reduction, Annotated[int, Field(ge=2, le=100)])
        check("rungs", rungs, bool)
        check("study", study, Annotated[Text, Field(max_length=200)])

    @staticmethod
    def check_search(space: Mapping[str, Mapping[str, Any]], warm_start: bool, **arguments: Any) -> None:
        """Check the constructor's arguments, and that a search over ``space`` can begin with them.

        Args:
            space: in NNI's format, checked already.
            warm_start: whether the search is prepared.

        Raises:
            UserError: it cannot.
        """
        OptunaTuner.validate(**arguments)
        distributions = {name: to_distribution(name, entry) for name, entry in space.items()}
        if not warm_start and any(limit.measure == "drop" for limit in read_limits(arguments.get("constraints") or ())):
            raise UserError(NO_DENSE)
        where, name = arguments.get("storage"), arguments.get("study", OptunaTuner.STUDY)
        if where is not None and (study := find_study(where, name)) is not None:
            default_metric = arguments.get("sampler") in SCALAR
            objectives = ("default",) if default_metric else arguments.get("objectives", DEFAULT_OBJECTIVES)
            check_study(study, objectives, distributions)

    def update_search_space(self, search_space: Mapping[str, Mapping[str, Any]]) -> None:
        """Take NNI's search space.

        Raises:
            UserError: a ``_type`` that Optuna has no distribution for, or the storage has a study of another space.
        """
        self._distributions = {name: to_distribution(name, entry) for name, entry in search_space.items()}
        check_study(self.study, self.study.metric_names or (), self._distributions)
        schedules = search_space.get("schedule", {"_value": [Candidate.schedule]})["_value"]
        rungs = max(len(halving.budgets(name, self.reduction)) for name in schedules) if self._rungs else 1
        self._studies[1:] = [self._open(rung) for rung in range(1, rungs)]

    def prepare(self, prepared: Sequence[Prepared]) -> None:
        """Take what was learnt before the search: the dense model's metric, the sizes, and candidates to try first.

        The candidates of a study that has had them already are not queued again.

        Raises:
            UserError: no candidate of the search space keeps within the constraints on its size.
        """
        if not prepared:
            return
        self._known = Known(prepared[0].sizes)
        self._identities.clear()
        self._metric = MEASURES[prepared[0].metric]
        self._dense_quality = prepared[0].dense[self._metric.name]
        self.study.set_user_attr("dense accuracy", self._dense_quality)
        early, self._early = self._early, []
        self.resume(early)
        self._check_space()
        if not self.study.user_attrs.get("warm start"):
            for parameters in self._first(prepared):
                self.study.enqueue_trial(parameters, skip_if_exists=True)
            self.study.set_user_attr("warm start", True)

    def ask(self, number: int) -> dict[str, Any]:
        """Return the next candidate: one that is promoted, or else a new one that the sampler proposes.

        It was not judged before, unless the search space holds hardly any other.
        """
        if self._dense_quality is None and any(limit.measure == "drop" for limit in self.limits):
            raise UserError(NO_DENSE)
        rung, trial = self._promotion() or (0, self._new())
        self._running[number] = (rung, trial)
        parameters = rounded(trial.params)
        if self._rungs:
            schedule = parameters.get("schedule", Candidate.schedule)
            parameters["budget"] = halving.budgets(schedule, self.reduction)[rung]
        return parameters

    def tell(self, number: int, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        """Tell the study of the trial's rung its metrics, which have every objective, or that it failed."""
        rung, trial = self._running.pop(number)
        if metrics is None:
            self._studies[rung].tell(trial, state=TrialState.FAIL)
        else:
            self._tell(rung, trial, metrics)

    def resume(self, results: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
        """Take the results that a resumed experiment already has; those that the studies know are not counted twice."""
        if self._dense_quality is None and any(limit.measure == "drop" for limit in self.limits):
            self._early += results  # they cannot be judged before the dense model's metric is known
            return
        for given, metrics in results:
            parameters = rounded(given)
            rung = halving.rung_of(parameters, self.reduction) if self._rungs else 0
            parameters.pop("budget", None)
            if rung >= len(self._studies) or set(parameters) != set(self._distributions):
                continue
            study = self._studies[rung]
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            trial = next((each for each in running if rounded(each.params) == parameters), None)
            if trial is not None:
                self._tell(rung, optuna.Trial(study, trial._trial_id), metrics)
            elif self._state(rung, parameters) is not TrialState.COMPLETE:
                self._add(rung, parameters, metrics)

    def _open(self, rung: int) -> optuna.Study:
        objectives = ("default",) if self._scalar and not rung else self.objectives
        directions = [MEASURES[name].direction if name in MEASURES else "maximize" for name in objectives]
        study = open_study(self._storage, f"{self._name} rung {rung}" if rung else self._name, objectives, directions)
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
            parameters = {name: draw(each, self._rng) for name, each in self._distributions.items()}
            smaller = self._smaller(parameters)
            if smaller is not None and self._state(0, smaller) is None:
                self.study.enqueue_trial(smaller)
                break
        else:
            self._enqueue_smaller({name: draw(each, self._rng) for name, each in self._distributions.items()})
        for _attempt in range(ATTEMPTS):  # another machine's may come first
            trial = self.study.ask(self._distributions)
            if not self._refuse(trial):
                return trial
        raise UserError(f"nothing found in the search space that keeps within {self._words()}: loosen it")

    def _refuse(self, trial: optuna.Trial) -> bool:
        """Tell the sampler of a proposal that is known to be too large, without running it.

        One that lies outside of the search space is from a damaged storage.
        """
        if not all(holds(each, trial.params[name]) for name, each in self._distributions.items()):
            self.study.tell(trial, state=TrialState.FAIL)
            return True
        violations = self._known.violations(trial.params, self.limits)
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
        smaller = self._smaller(parameters)
        if smaller is not None:
            self.study.enqueue_trial(smaller)

    def _smaller(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a candidate near ``parameters`` whose known sizes keep within the limits."""
        levels = {
            name: grid(each)
            for name, each in self._distributions.items()
            if name == "sparsity" or name.startswith(PREFIX)
        }
        return shrink(rounded(parameters), levels, self._excess)

    def _excess(self, parameters: Mapping[str, Any]) -> float:
        return sum(max(0.0, value) for value in self._known.violations(parameters, self.limits).values())

    def _check_space(self) -> None:
        """Refuse a search space whose smallest candidate of each kind is too large."""
        smallest = {name: grid(each)[-1] for name, each in self._distributions.items() if name.startswith("sparsity")}
        kinds = {name: each for name, each in self._distributions.items() if name not in smallest}
        fits = any(
            self._excess({name: draw(each, self._rng) for name, each in kinds.items()} | smallest) <= 0
            for _attempt in range(200 if kinds else 1)
        )
        if not fits:
            size = self._known.size({name: draw(each, self._rng) for name, each in kinds.items()} | smallest)
            sizes = ", ".join(f"{name} {value:.6g}" for name, value in size.items())
            raise UserError(
                f"nothing in the search space keeps within {self._words()}: its smallest network has {sizes}"
            )

    def _words(self) -> str:
        return ", ".join(limit.words for limit in self.limits if limit.measure in ("params", "macs"))

    def _first(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Return the candidates to try first, as points of the search space, each once."""
        found: dict[Hashable, dict[str, Any]] = {}
        for parameters in (each for one in prepared for each in one.first):
            point = self._point(Candidate.from_parameters(parameters))
            if point is not None and self._excess(point) <= 0:
                found.setdefault(self._known.identity(point), point)
        return list(found.values())

    def _point(self, candidate: Candidate) -> dict[str, Any] | None:
        """Return the point of the search space nearest to a candidate, or None if it is of a kind that is not in it.

        Groups that the space leaves whole are whole in the point.
        """
        own = {name.removeprefix(PREFIX) for name in self._distributions if name.startswith(PREFIX)}
        others = {value for group, value in candidate.sparsity.items() if group not in own} or {candidate.uniform}
        said = candidate.to_parameters()
        wanted: dict[str, Any] = {}
        for name, distribution in self._distributions.items():
            if name.startswith(PREFIX):
                value = candidate.of(name.removeprefix(PREFIX))
            elif name == "sparsity":
                value = others.pop() if len(others) == 1 else None
            elif isinstance(distribution, CategoricalDistribution):
                value = said.get(name, distribution.choices[0])
            else:
                value = said.get(name, 0)
            wanted[name] = None if value is None else nearest(distribution, value)
        kind = {name: getattr(candidate, name) for name in ("criterion", "schedule", "allocation")}
        unsaid = {name: getattr(Candidate, name) for name in kind} | wanted
        if any(value is None for value in wanted.values()) or any(unsaid[name] != kind[name] for name in kind):
            return None
        return rounded(wanted)

    def _promotion(self) -> tuple[int, optuna.Trial] | None:
        """Return the trial of a candidate that goes on to the next rung, the highest first."""
        for rung in reversed(range(1, len(self._studies))):
            study, below = self._studies[rung], self._judged(rung - 1)
            begun = study.get_trials(deepcopy=False)
            if not any(trial.state is TrialState.WAITING for trial in begun):
                promoted = {self._identity(rung, trial) for trial in begun}
                best = halving.to_promote([judged for judged, _ in below.values()], promoted, self.reduction)
                if best is None:
                    continue
                study.enqueue_trial(rounded(below[best.key][1].params))
            return rung, study.ask(self._distributions)
        return None

    def _judged(self, rung: int) -> dict[Hashable, tuple[halving.Judged, FrozenTrial]]:
        """Return each candidate's result on a rung."""
        found: dict[Hashable, tuple[halving.Judged, FrozenTrial]] = {}
        for trial in self._studies[rung].get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            measures, key = trial.user_attrs.get("measures"), self._identity(rung, trial)
            if not measures or key in found:
                continue
            violations = self._violations(measures)
            too_large = any(v > 0 for name, v in violations.items() if name in SIZES)
            further = len(halving.budgets(trial.params.get("schedule", Candidate.schedule), self.reduction)) > rung + 1
            violation = sum(max(0.0, value) for value in violations.values())
            judged = halving.Judged(key, costs(measures, self.objectives), violation, further and not too_large)
            found[key] = (judged, trial)
        return found

    def _tell(self, rung: int, trial: optuna.Trial, value: Any) -> None:
        study, measures = self._studies[rung], _finite(value)
        missing = self._missing(rung, measures)
        if missing:
            _log.warning("trial %d reported %s: not a finite number for %s", trial.number, value, ", ".join(missing))
            study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_user_attr("measures", measures)
        self._constrain(trial, self._violations(measures))
        study.tell(trial, self._values(rung, measures))

    def _constrain(self, trial: optuna.Trial, violations: Mapping[str, float]) -> None:
        if not self._scalar:  # CMA-ES has no use for them, and says so each time
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
        self._studies[rung].add_trial(trial)

    def _values(self, rung: int, measures: Mapping[str, float]) -> list[float]:
        return [measures[name] for name in self._studies[rung].metric_names or ()]

    def _violations(self, measures: Mapping[str, float]) -> dict[str, float]:
        return {limit.measure: limit.violation(measures, self._dense_quality, self._metric) for limit in self.limits}

    def _missing(self, rung: int, measures: Mapping[str, float]) -> list[str]:
        limited = [self._metric.name if limit.measure == "drop" else limit.measure for limit in self.limits]
        needed = [*(self._studies[rung].metric_names or ()), *self.objectives, *limited]
        return [name for name in dict.fromkeys(needed) if name not in measures]

    def _identity(self, rung: int, trial: FrozenTrial) -> Hashable:
        key = (rung, trial.number)
        if key in self._identities:
            return self._identities[key]
        identity = self._known.identity(rounded(trial.params))
        if trial.state.is_finished():  # another machine's may still lack parameters
            self._identities[key] = identity
        return identity

    def _find(self, rung: int, parameters: Mapping[str, Any], but: int | None = None) -> FrozenTrial | None:
        """Return the rung's trial of a candidate, a finished one first; not one that was refused."""
        identity, found = self._known.identity(rounded(parameters)), None
        states = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL)
        for trial in self._studies[rung].get_trials(deepcopy=False, states=states):
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
