"""What is known of a candidate before it is run: its size, and which other candidates are the same network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.errors import UserError
from autoprune.results.candidate import BLOCK_PREFIX, PREFIX, Candidate
from autoprune.results.limits import Limit
from autoprune.results.size_model import SizeModel
from autoprune.search.distributions import rounded


@dataclass(frozen=True)
class Forecast:
    """Sizes and identities of candidates.

    Args:
        sizes: the network's, or None: then no size is known, and candidates are told apart by their parameters.
        unstructured: the criteria that remove no whole channels: they leave the sizes as they are.
    """

    sizes: SizeModel | None = None
    unstructured: Collection[str] = ()

    def sparsity(self, parameters: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the sparsity of each group, or None where parameters do not say which channels go.

        Those of a damaged storage may say nothing that can be pruned.
        """
        if self.sizes is None:
            return None
        try:
            candidate = Candidate.from_parameters(parameters).spread(self.sizes.kinds)
        except UserError:
            return None
        if candidate.criterion in self.unstructured or candidate.allocation or candidate.dropped:
            return None
        return {group: candidate.of(group) for group in self.sizes.channels}

    def size(self, parameters: Mapping[str, Any]) -> dict[str, float]:
        """Return the ``params`` and ``macs`` that a candidate will have, or nothing if they are not known."""
        sparsity = self.sparsity(parameters)
        return {} if self.sizes is None or sparsity is None else self.sizes.sizes(sparsity)

    def size_of_dense(self, size: str) -> float:
        """Return the ``params`` or ``macs`` of the whole network; 0 if they are not known."""
        return 0.0 if self.sizes is None else self.sizes.sizes({})[size]

    def identity(self, parameters: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Return what two candidates have in common if and only if they are the same: the channels kept, if known."""
        sparsity = self.sparsity(parameters)
        if self.sizes is None or sparsity is None:
            return tuple(sorted(rounded(parameters).items()))
        rest = {k: v for k, v in parameters.items() if k != "sparsity" and not k.startswith((PREFIX, BLOCK_PREFIX))}
        return tuple(sorted(rest.items())) + tuple(self.sizes.kept(sparsity).items())

    def violations(self, parameters: Mapping[str, Any], limits: Sequence[Limit]) -> dict[str, float]:
        """Return the violation of each limit that can be told before the candidate is run, by its measure."""
        size = self.size(parameters)
        return {limit.measure: limit.violation(size) for limit in limits if limit.measure in size}


def shrink(
    parameters: Mapping[str, Any], levels: Mapping[str, Sequence[float]], excess: Callable[[Mapping[str, Any]], float]
) -> dict[str, Any] | None:
    """Return a candidate near ``parameters`` that has no excess, or None if there is none with higher sparsities.

    Over and over, the sparsity is raised that takes off most excess for the rise, to its next level that takes off any.

    Args:
        levels: the sparsities that a parameter can have, in rising order.
        excess: how far a candidate lies beyond the limits; 0 if it keeps within them.
    """
    now = dict(parameters)
    while (before := excess(now)) > 0:
        best, step = 0.0, None
        for name, values in levels.items():
            for value in values:
                if value > now[name] + 1e-9 and (after := excess(now | {name: value})) < before:
                    if (before - after) / (value - now[name]) > best:
                        best, step = (before - after) / (value - now[name]), {name: value}
                    break
        if step is None:
            return None
        now |= step
    return now
