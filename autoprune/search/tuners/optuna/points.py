"""Candidates as points of a search space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from autoprune.results.candidate import PREFIX, TIE, Candidate, renamed, schedule_of
from autoprune.search.distributions import nearest, rounded

Distributions = Mapping[str, BaseDistribution]
"""A search space, by parameter."""


def point_of(candidate: Candidate, space: Distributions) -> dict[str, Any] | None:
    """Return the point of a search space nearest to a candidate, or None if it is of a kind that is not in it.

    Groups that the space leaves whole are whole in the point; where it ties groups, a candidate that names other groups
    has none.
    """
    tied = any(name.startswith(PREFIX + TIE) for name in space)
    if tied and any(PREFIX + name not in space for name in candidate.sparsity):
        return None
    own = {name.removeprefix(PREFIX) for name in space if name.startswith(PREFIX)}
    others = {value for group, value in candidate.sparsity.items() if group not in own} or {candidate.uniform}
    said = spelled(candidate.to_parameters(), space)
    wanted: dict[str, Any] = {}
    for name, distribution in space.items():
        value: Any
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
    named = renamed({name: getattr(Candidate, name) for name in kind} | wanted)
    if any(value is None for value in wanted.values()) or any(named[name] != kind[name] for name in kind):
        return None
    return rounded(wanted)


def spelled(parameters: Mapping[str, Any], space: Distributions) -> dict[str, Any]:
    """Return parameters with their schedule called as in the search space, which may have its former name."""
    own = space.get("schedule")
    choices = own.choices if isinstance(own, CategoricalDistribution) else ()
    same = (name for name in choices if schedule_of({"schedule": name}) == schedule_of(parameters))
    return {**parameters, **{name: next(same, value) for name, value in parameters.items() if name == "schedule"}}
