"""The part of a search space whose candidates are known to keep within the limits on their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprune.errors import UserError
from autoprune.results.candidate import PREFIX
from autoprune.results.limits import Limit
from autoprune.search.distributions import draw, grid, rounded
from autoprune.search.forecast import Forecast, shrink
from autoprune.search.tuners.optuna.points import Distributions


@dataclass(frozen=True)
class SizeLimits:
    """Points of a search space, and how far they are known to lie beyond the limits.

    Args:
        space: the search space.
        limits: the constraints; those on anything but a size are left alone.
        forecast: what is known of candidates before they are run.
        rng: of the points drawn.
    """

    space: Distributions
    limits: Sequence[Limit]
    forecast: Forecast
    rng: np.random.Generator

    def violations(self, parameters: Mapping[str, Any]) -> dict[str, float]:
        """Return the violation of each limit that can be told, by its measure."""
        return self.forecast.violations(parameters, self.limits)

    def excess(self, parameters: Mapping[str, Any]) -> float:
        """Return how far a candidate lies beyond all limits together; 0 if it keeps within them."""
        return sum(max(0.0, value) for value in self.violations(parameters).values())

    def draw(self) -> dict[str, Any]:
        """Return a point of the whole space, drawn at random."""
        return _draw(self.space, self.rng)

    def smaller(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a candidate near ``parameters`` that keeps within the limits, or None."""
        levels = {
            name: grid(each) for name, each in self.space.items() if name == "sparsity" or name.startswith(PREFIX)
        }
        return shrink(rounded(parameters), levels, self.excess)

    def check(self) -> None:
        """Refuse a search space whose smallest candidate of each kind is too large.

        Raises:
            UserError: nothing in it keeps within the limits.
        """
        smallest = {name: grid(each)[-1] for name, each in self.space.items() if name.startswith("sparsity")}
        kinds = {name: each for name, each in self.space.items() if name not in smallest}
        attempts = range(200 if kinds else 1)
        if any(self.excess(_draw(kinds, self.rng) | smallest) <= 0 for _attempt in attempts):
            return
        size = self.forecast.size(_draw(kinds, self.rng) | smallest)
        sizes = ", ".join(f"{name} {value:.6g}" for name, value in size.items())
        raise UserError(f"nothing in the search space keeps within {self}: its smallest network has {sizes}")

    def __str__(self) -> str:
        return ", ".join(limit.words for limit in self.limits if limit.measure in ("params", "macs"))


def _draw(space: Distributions, rng: np.random.Generator) -> dict[str, Any]:
    return {name: draw(each, rng) for name, each in space.items()}
