"""What an :class:`.OptunaTuner` is made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass

from autoprune.base.checked import STRICT, Seed, Text, allowed_by
from autoprune.errors import unknown
from autoprune.results.limits import Limit, read_limits
from autoprune.results.measures import metric_among
from autoprune.results.pareto import DEFAULT_OBJECTIVES, check_objectives
from autoprune.search.tuners.optuna.samplers import SAMPLERS, SCALAR
from autoprune.search.tuners.optuna.storage import check_storage


def _check_sampler(name: Any) -> None:
    if not isinstance(name, str) or name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)


@dataclass(frozen=True, config=STRICT)
class OptunaSettings:
    """The arguments of an :class:`.OptunaTuner`.

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
        recoveries: how long a candidate that takes its weights from the supernet is trained on the last rung, as a
            multiple of the task's recovery.
        study: the study's name in the storage. Tuners that name the same study of the same storage share it.

    Raises:
        UserError: one is wrong; for unknown names with the near matches.
    """

    objectives: Annotated[Sequence[str], allowed_by(check_objectives)] = DEFAULT_OBJECTIVES
    sampler: Annotated[str, allowed_by(_check_sampler)] = "tpe"
    seed: Seed = 0
    storage: Annotated[str | None, allowed_by(check_storage)] = None
    constraints: SkipValidation[Sequence[str] | None] = ()
    rungs: bool = True
    reduction: Annotated[int, Field(ge=2, le=100)] = 3
    recoveries: Annotated[float, Field(gt=0, le=100)] = 2.0
    study: Annotated[Text, Field(max_length=200)] = "autoprune"

    def __post_init__(self) -> None:
        """Refuse constraints that cannot be read, in words of the metric among the objectives."""
        read_limits(() if self.constraints is None else self.constraints, metric_among(self.objectives))

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The constraints, read."""
        return read_limits(() if self.constraints is None else self.constraints, metric_among(self.objectives))

    @property
    def counts_a_drop(self) -> bool:
        """Whether a constraint is counted from the dense model's metric."""
        return any(limit.measure == "drop" for limit in self.limits)

    @property
    def scalar(self) -> bool:
        """Whether the sampler knows one number only: the metric ``default``."""
        return self.sampler in SCALAR

    @property
    def first_objectives(self) -> tuple[str, ...]:
        """What the sampler optimises, on the first rung."""
        return ("default",) if self.scalar else tuple(self.objectives)
