"""Walking a network's groups, one sparsity after the other, so that a size target is always met."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autoprune.errors import UserError
from autoprune.results.candidate import BLOCK_PREFIX, PREFIX
from autoprune.results.size_model import SizeModel
from autoprune.search.ties import tied_curves

Size = Literal["macs", "params"]

PROBES = (0.25, 0.5, 0.75)
"""The sparsities whose probed quality an agent sees, for each group."""


@dataclass(frozen=True)
class Step:
    """One group's turn in a walk.

    Args:
        state: what the agent sees, each number in [0, 1].
        action: the sparsity taken, in [-1, 1]: from the lowest to the highest that is possible here.
    """

    state: np.ndarray
    action: float


class Walk:
    """Walks over the groups of a search space, in the order of the network.

    At each group the sparsity is bounded on both sides. From below, as in AMC (He et al. 2018, algorithm 1): with every
    later group at its highest sparsity the target can still be met. And from above: with every later group at its
    lowest, no more than the target is asked for, since pruning beyond it costs quality for nothing. So a walk ends
    just below its target, whatever the actions; only a target smaller than anything in the space is not met, and
    then every group is at its highest.

    Args:
        sizes: the network's.
        space: in NNI's format. Groups that it does not name stay whole.
        sensitivity: for each group alone, ``(sparsity, quality)`` pairs, the first of sparsity 0, the quality in [0, 1]
            and better the higher it is; may lack groups.
        size: what the target limits.

    Raises:
        UserError: the space has no group, a group of another network, or a parameter that the walk has no step for.
    """

    def __init__(
        self,
        sizes: SizeModel,
        space: Mapping[str, Mapping[str, Any]],
        sensitivity: Mapping[str, Sequence[tuple[float, float]]],
        size: Size = "macs",
    ) -> None:
        check_space(space)
        self.grid = {name: _grid(sizes, name, space[PREFIX + name]) for name in sizes.names if PREFIX + name in space}
        strange = [key for key in space if key.startswith(PREFIX) and key.removeprefix(PREFIX) not in sizes.names]
        if strange:
            raise UserError(f"search space: the network that was prepared has no group for {', '.join(strange)}")
        self._sizes, self._size = sizes, size
        self._dense = sizes.sizes({})[size]
        self._lowest = {name: grid[0] for name, grid in self.grid.items()}
        self._highest = {name: grid[-1] for name, grid in self.grid.items()}
        self._features = self._static_features(tied_curves(sensitivity, sizes, self.grid))

    @property
    def state_size(self) -> int:
        """Numbers in a state."""
        return len(self._state({}, 0, 1.0, 0, 0, 0.0))

    @property
    def reachable(self) -> tuple[float, float]:
        """The smallest and the largest size in the space, as fractions of the dense network's."""
        return self.fraction(self._highest), self.fraction(self._lowest)

    def fraction(self, sparsity: Mapping[str, float]) -> float:
        """Return a network's size as a fraction of the dense one's."""
        return self._sizes.sizes(sparsity)[self._size] / self._dense

    def macs(self, sparsity: Mapping[str, float]) -> float:
        """Return a network's multiply-accumulates of one example."""
        return self._sizes.sizes(sparsity)["macs"]

    def go(self, target: float, act: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Walk from the first group to the last, and return their sparsities.

        Args:
            target: the largest size, as a fraction of the dense network's.
            act: gives an action in [-1, 1] for a state.
        """
        taken: dict[str, float] = {}
        before = 0.0
        for number, (name, grid) in enumerate(self.grid.items()):
            least, most = self._bounds(taken, name, target)
            action = act(self._state(taken, number, target, least, most, before))
            wanted = least + (most - least) * (min(1.0, max(-1.0, action)) + 1) / 2
            taken[name] = grid[round(wanted)]
            before = taken[name]
        return taken

    def retrace(self, sparsity: Mapping[str, float], target: float | None = None) -> list[Step]:
        """Return the steps of the walk that ends at ``sparsity``.

        Args:
            target: of the walk, or None for the size that ``sparsity`` has (hindsight): every point of the grid ends a
                walk to its own size.
        """
        sparsity = {name: self.nearest(name, sparsity.get(name, 0.0)) for name in self.grid}
        target = self.fraction(sparsity) if target is None else target
        taken: dict[str, float] = {}
        before, steps = 0.0, []
        for number, (name, grid) in enumerate(self.grid.items()):
            least, most = self._bounds(taken, name, target)
            share = (grid.index(sparsity[name]) - least) / (most - least) if most > least else 0.5
            steps.append(
                Step(self._state(taken, number, target, least, most, before), 2 * min(1.0, max(0.0, share)) - 1)
            )
            taken[name] = sparsity[name]
            before = taken[name]
        return steps

    def nearest(self, name: str, sparsity: float) -> float:
        """Return the sparsity of the group's grid that keeps the number of channels nearest to that of ``sparsity``."""
        kept = sum(self._sizes.kept_of(name, sparsity))
        return min(self.grid[name], key=lambda level: abs(sum(self._sizes.kept_of(name, level)) - kept))

    def _bounds(self, taken: Mapping[str, float], name: str, target: float) -> tuple[int, int]:
        """Return the first and the last index in the group's grid that a walk to ``target`` may take."""
        grid = self.grid[name]
        # A hair of tolerance: a walk that is retraced to its own size must meet it.
        limit = target * (1 + 1e-9)

        def first_that_meets(later: Mapping[str, float]) -> int:
            def meets(level: float) -> bool:
                return self.fraction({**later, **taken, name: level}) <= limit

            return min(bisect_left(grid, True, key=meets), len(grid) - 1)

        return first_that_meets(self._highest), first_that_meets(self._lowest)

    def _state(
        self, taken: Mapping[str, float], number: int, target: float, least: int, most: int, before: float
    ) -> np.ndarray:
        """Return what the agent sees before the turn of the group of this number."""
        name, last = list(self.grid)[number], len(self.grid) - 1
        steps = max(1, len(self.grid[name]) - 1)
        now = self.fraction({**self._lowest, **taken})
        floor = self.fraction({**self._highest, **taken})
        changing = [
            number / max(1, last),
            _log_share(target, self.reachable[0]),
            now,
            floor,
            min(1.0, max(0.0, target - floor) / max(now - floor, 1e-9)),
            before,
            least / steps,
            most / steps,
        ]
        return np.array([*changing, *self._features[name]], dtype=np.float32)

    def _static_features(self, sensitivity: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, list[float]]:
        """Return for each group its log channels, what it alone can save of both sizes, and its probed losses."""
        dense = self._sizes.sizes({})
        most_channels = max(2, *self._sizes.channels.values())
        features = {}
        for name in self.grid:
            channels = max(self._sizes.channels[member] for member in self._sizes.members(name))
            alone = self._sizes.sizes({name: self._highest[name]})
            shares = [1 - alone[size] / max(dense[size], 1e-9) for size in ("params", "macs")]
            losses = [predicted_loss(sensitivity.get(name, ()), ratio) for ratio in PROBES]
            features[name] = [math.log(channels) / math.log(most_channels), *shares, *losses]
        return features


def check_space(space: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a walk over the groups reaches every point of a search space.

    Raises:
        UserError: it names no group, or has blocks, an allocation or a sparsity for all groups together.
    """
    other = [key for key in space if not key.startswith(PREFIX) and key not in ("criterion", "schedule")]
    if other:
        what = "whole blocks" if other[0].startswith(BLOCK_PREFIX) else repr(other[0])
        raise UserError(f"search space: the RL tuner walks the groups and cannot decide on {what}: take {other[0]} out")
    if not any(key.startswith(PREFIX) for key in space):
        raise UserError(f"search space: the RL tuner needs {PREFIX}GROUP entries: `autoprune space TASK` writes them")
    for key, entry in space.items():
        if key.startswith(PREFIX) and entry["_type"] not in ("quniform", "uniform", "choice"):
            raise UserError(f"search space: {key} has the _type {entry['_type']!r}: use quniform, uniform or choice")


def predicted_loss(curve: Sequence[tuple[float, float]], sparsity: float) -> float:
    """Return the quality that a probe says is lost at ``sparsity``, in [0, 1]; 0 without a probe."""
    if not curve:
        return 0.0
    xs, ys = zip(*sorted(curve), strict=True)
    return min(1.0, max(0.0, float(ys[0] - np.interp(sparsity, xs, ys))))


def _grid(sizes: SizeModel, name: str, entry: Mapping[str, Any]) -> list[float]:
    """Return the sparsities of an entry that differ in the channels kept, from the lowest up."""
    values = entry["_value"]
    if entry["_type"] == "choice":
        points = sorted(values)
    elif entry["_type"] == "quniform":
        low, high, step = values
        points = [low + i * step for i in range(math.floor((high - low) / step + 1e-6) + 1)]
    else:
        points = [values[0], *(level for level in sizes.levels(name) if values[0] < level <= values[1])]
    found: dict[tuple[int, ...], float] = {}
    for point in points:
        found.setdefault(sizes.kept_of(name, point), round(float(point), 6))
    return list(found.values())


def _log_share(target: float, smallest: float) -> float:
    """Return where a target lies between the smallest size (0) and the dense network's (1), on a log scale."""
    return min(1.0, max(0.0, 1 - math.log(target) / math.log(min(smallest, 0.999))))
