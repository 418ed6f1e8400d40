"""NNI's search spaces as Optuna's distributions, and single values of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autoprune.errors import UserError


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


def rounded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Take the noise of floating-point steps (0.30000000000000004) out of parameters, so that they compare equal."""
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in parameters.items()}


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a value is one of a distribution's, or lies within its bounds."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and distribution.low - 1e-9 <= value <= distribution.high + 1e-9


def grid(distribution: BaseDistribution, points: int = 17) -> list[Any]:
    """Return the numbers of a distribution in rising order; ``points`` of them where it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return sorted(v for v in distribution.choices if isinstance(v, int | float) and not isinstance(v, bool))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        return [round(float(v), 6) for v in np.linspace(low, high, points)]
    values = [low + i * step for i in range(math.floor((high - low) / step + 1e-6) + 1)]
    return [round(v, 6) if isinstance(v, float) else v for v in values]


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Return the value of a distribution nearest to ``value``, or None if it is a choice that is not offered."""
    if isinstance(distribution, CategoricalDistribution):
        if value in distribution.choices:
            return value
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return min(grid(distribution), key=lambda each: abs(each - value), default=None)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is None:
        return min(max(value, distribution.low), distribution.high)
    return min(grid(distribution), key=lambda each: abs(each - value))


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Return a value of a distribution at random, all of its grid (or its range) alike."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is None:
        return round(float(rng.uniform(distribution.low, distribution.high)), 6)
    values = grid(distribution)
    return values[rng.integers(len(values))]
