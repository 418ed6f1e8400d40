"""The networks that are trained in full, as a chain from large to small: each is cut from one that was trained before.

After NetAdapt (Yang et al. 2018), whose every network is the last one made smaller. Equal sparsities in all groups come
along it at every other place: a front that is searched for should never lie below theirs, trained as long, and what
they learn the others inherit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from autoprune.results.candidate import BLOCK_PREFIX, Candidate
from autoprune.results.prepared import Prepared
from autoprune.search.distributions import rounded
from autoprune.search.forecast import Forecast
from autoprune.search.halving import Judged, to_promote
from autoprune.search.tuners.optuna.points import Distributions, point_of

UNIFORM = 8
"""Networks of equal sparsities, evenly spread over the logarithm of the size."""

LEVELS = [i / 64 for i in range(1, 64)]
"""The equal sparsities that these are chosen from."""


@dataclass(frozen=True)
class Chain:
    """What is trained next in the chain, and what it is cut from.

    Args:
        forecast: sizes and identities.
        size: ``params`` or ``macs``: by which networks are large or small.
        uniform: candidates of equal sparsities as points of the search space, from large to small.
    """

    forecast: Forecast = Forecast()
    size: str = "macs"
    uniform: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def over(
        cls,
        forecast: Forecast,
        space: Distributions,
        prepared: Prepared,
        size: str,
        fits: Callable[[Mapping[str, Any]], bool],
    ) -> Chain:
        """Return the chain of a search space.

        Args:
            prepared: says by which criterion and on which schedule equal sparsities are tried.
            size: the objective beside the metric; MACs count where it is neither these nor the parameters.
            fits: says whether a candidate keeps within the limits on its size.
        """
        size = size if size in ("params", "macs") else "macs"
        blocks = {name.removeprefix(BLOCK_PREFIX): 0 for name in space if name.startswith(BLOCK_PREFIX)}
        template = Candidate(criterion=prepared.criterion, schedule=prepared.schedule, blocks=blocks)
        found: dict[Hashable, Mapping[str, Any]] = {}
        for level in LEVELS:
            point = point_of(replace(template, uniform=level), space)
            if point is not None and forecast.size(point) and fits(point):
                found.setdefault(forecast.identity(point), point)
        sizes = {key: math.log(max(1.0, forecast.size(point)[size])) for key, point in found.items()}
        sizes = {key: value for key, value in sizes.items() if value < math.log(forecast.size_of_dense(size)) - 1e-9}
        if not sizes:
            return cls(forecast, size)
        wanted = np.linspace(math.log(forecast.size_of_dense(size)), min(sizes.values()), UNIFORM + 1)[1:]
        chosen = dict.fromkeys(min(sizes, key=lambda key: abs(sizes[key] - target)) for target in wanted)
        return cls(forecast, size, [found[key] for key in chosen])

    def next(
        self,
        rung: int,
        below: Mapping[Hashable, tuple[Judged, FrozenTrial]],
        begun: Collection[Hashable],
        reduction: int,
    ) -> dict[str, Any] | None:
        """Return what goes on to a rung: one of the best candidates of the rung below, or of equal sparsities.

        These come in turn on the first of the upper rungs, and of the best the largest comes first: it is what others
        are cut from.

        Args:
            below: the results of the rung below, and their trials, by identity.
            begun: the identities of those that went on already.
            reduction: one in how many goes on.
        """
        uniform = {self.forecast.identity(point): point for point in self.uniform} if rung == 1 else {}
        waiting = [point for key, point in uniform.items() if key not in begun]
        tried, searched = len(uniform) - len(waiting), [key for key in begun if key in below and key not in uniform]
        if waiting and tried <= len(searched) and tried < len(below) // reduction:
            return dict(waiting[0])
        judged = [replace(one, can_rise=one.can_rise and key not in uniform) for key, (one, _) in below.items()]
        best = to_promote(judged, searched, reduction, lambda key: self._size_of(below[key][1].params))
        return None if best is None else rounded(below[best.key][1].params)

    def parent_of(self, parameters: Mapping[str, Any], trained: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return the id of the smallest trained network that has all that a candidate keeps; None if there is none.

        Args:
            trained: the candidates whose networks are there, by their ids, in the order in which they were trained.
        """
        kept = self._kept(parameters)
        if kept is None:
            return None
        found = []
        for number, (name, other) in enumerate(trained.items()):
            theirs, same = self._kept(other), other.get("criterion") == parameters.get("criterion")
            if same and theirs and all(theirs[group] >= n for group, n in kept.items()):
                found.append((self._size_of(other), -number, name))
        return min(found)[-1] if found else None

    def _size_of(self, parameters: Mapping[str, Any]) -> float:
        return self.forecast.size(rounded(parameters)).get(self.size, 0.0)

    def _kept(self, parameters: Mapping[str, Any]) -> Mapping[str, int] | None:
        sparsity = self.forecast.sparsity(rounded(parameters))
        return None if sparsity is None or self.forecast.sizes is None else self.forecast.sizes.kept(sparsity)
