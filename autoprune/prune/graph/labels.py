"""Labels: which channel each element of a tensor belongs to, and which channels stand or fall together.

Every element of an activation carries a number, the label of the channel it came from. An operation that only moves
elements moves their labels; an addition says that the labels it adds must go together. Label 0 never goes.
Labels that do not change along an axis are kept as expanded tensors (stride 0), so most cost one number per channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

SINGLE = "it is a single channel that others are combined with"
SHARED = "it is shared by units that go one by one"


def varying(labels: Tensor) -> list[int]:
    """Return the axes along which ``labels`` change."""
    return [axis for axis, size in enumerate(labels.shape) if size > 1 and labels.stride(axis)]


def core(labels: Tensor) -> Tensor:
    """Return ``labels`` with every axis along which they do not change narrowed to size 1."""
    for axis, size in enumerate(labels.shape):
        if size > 1 and not labels.stride(axis):
            labels = labels.narrow(axis, 0, 1)
    return labels


def compact(labels: Tensor) -> Tensor:
    """Return equal labels in which every axis without change has stride 0."""
    small = core(labels)
    for axis in range(small.ndim):
        if small.size(axis) > 1 and bool((small == small.narrow(axis, 0, 1)).all()):
            small = small.narrow(axis, 0, 1)
    return small.expand(labels.shape)


NOTHING_THERE = "nothing is computed there for the example: give one for which it is, as an image with objects in it"


class Couplings:
    """Collects what must go together, what must stay and why."""

    def __init__(self) -> None:
        self.count = 1
        self._edges: list[tuple[np.ndarray, str]] = []
        self._joined_by: dict[str | None, np.ndarray] = {}
        self._ties: list[tuple[np.ndarray, str]] = []
        self._kept: list[tuple[np.ndarray, str]] = []
        self._splits: list[tuple[Tensor, tuple[int, ...]]] = []
        self._spread: list[tuple[Tensor, Tensor]] = []

    def new(self, shape: Sequence[int]) -> Tensor:
        """Return labels that were never used, one for each element of ``shape``."""
        size = int(np.prod(shape, dtype=np.int64))
        labels = torch.arange(self.count, self.count + size, dtype=torch.int32).view(tuple(shape))
        self.count += size
        return labels

    def join(self, a: Tensor, b: Tensor, tie: str = "") -> None:
        """Say that labels at the same place of ``a`` and ``b`` (shapes that broadcast) go together.

        Args:
            tie: the reason, if it is one for channels of the same layer to go together.
        """
        if not a.numel() or not b.numel():
            self.keep(a if a.numel() else b, NOTHING_THERE)
            return
        shape = torch.broadcast_shapes(a.shape, b.shape)
        a, b = a.expand(shape), b.expand(shape)
        for axis, size in enumerate(shape):
            if size > 1 and not a.stride(axis) and not b.stride(axis):
                a, b = a.narrow(axis, 0, 1), b.narrow(axis, 0, 1)
        pairs = np.stack([a.reshape(-1).numpy(), b.reshape(-1).numpy()])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if pairs.shape[1]:
            stays = (pairs == 0).any(0)
            if stays.any():
                self._kept.append((np.unique(pairs[:, stays].max(0)), "it is combined with what cannot shrink"))
            self._edges.append((pairs[:, ~stays], tie))

    def spread(self, labels: Tensor, over: Tensor) -> None:
        """Say that ``labels`` go together with those of ``over`` at the same place, all along the axes they lack.

        Such as the scale of a norm over each head's channels. Where the channels under ``labels`` can only go all at
        once, ``labels`` stay instead, so that heads can still go one by one.
        """
        self._spread.append((core(over), core(labels)))

    def keep(self, labels: Tensor, why: str) -> None:
        """Say that these labels never go."""
        self._kept.append((np.unique(core(labels).reshape(-1).numpy()), why))

    def tie(self, labels: Tensor, axes: Sequence[int], why: str = "") -> Tensor:
        """Say that labels along ``axes`` go together; return them with those axes narrowed to size 1."""
        first = labels
        for axis in axes:
            if first.size(axis) > 1:
                first = first.narrow(axis, 0, 1)
        if set(varying(labels)) & {axis % labels.ndim for axis in axes}:
            self.join(labels, first, why)
            if why:
                self._ties.append((np.unique(core(first).reshape(-1).numpy()), why))
        return first

    def fix(self, labels: Tensor, axes: Sequence[int], why: str) -> None:
        """Say that ``axes`` cannot shrink: the labels change along others, or they stay."""
        changing = varying(labels)
        fixed = [axis for axis in changing if axis in {axis % labels.ndim for axis in axes}]
        if fixed and fixed == changing:
            self.keep(labels, why)
        elif fixed:
            self.tie(labels, fixed, why)

    def split(self, labels: Tensor, axes: Sequence[int]) -> None:
        """Say that at most one of ``axes``, which were one axis before, may shrink."""
        self._splits.append((core(labels), tuple(axes)))

    def varying_by_now(self, labels: Tensor) -> list[int]:
        """Return the axes along which ``labels`` change, if all counts that was said so far to go together."""
        before = len(self._edges), len(self._kept)
        components = self._components()
        for over, other in self._spread:  # as it is settled at the end, if nothing more is said
            if set(varying(compact(torch.from_numpy(components)[over.long()]))) & set(varying(other)):
                self.join(over, other)
        components = self._components()
        del self._edges[before[0] :], self._kept[before[1] :]
        return varying(compact(torch.from_numpy(components)[core(labels).long()].expand(labels.shape)))

    def resolve(self) -> tuple[np.ndarray, dict[int, str]]:
        """Return each label's component, and why components stay."""
        components = self._settled()
        for labels, axes in self._splits:
            found = compact(torch.from_numpy(components)[labels.long()])
            changing = [axis for axis in axes if axis in varying(found)]
            if len(changing) > 1:
                shrinks = max(changing, key=labels.size)
                self.tie(labels, [axis for axis in changing if axis != shrinks])
                components = self._components()
        self._joined_by = {None: components}
        strongest_first = sorted(self._kept, key=lambda entry: entry[1] == SINGLE)
        return components, {0: "it is the network's input"} | self._reasons(components, strongest_first)

    def _settled(self) -> np.ndarray:
        """Decide what was :meth:`spread`, and return each label's component."""
        components = self._components()
        for over, labels in self._spread:
            found = varying(compact(torch.from_numpy(components)[over.long()]))
            if found and not set(found) & set(varying(labels)):
                self.keep(self.tie(labels, varying(labels)), SHARED)
            else:
                self.join(over, labels)
        return self._components() if self._spread else components

    def why_together(self, labels: np.ndarray) -> str | None:
        """Return a reason that alone makes these labels one component, if there is one; after :meth:`resolve`."""
        mine = np.unique(self._joined_by[None][labels])
        for why in dict.fromkeys(why for tied, why in self._ties if np.isin(self._joined_by[None][tied], mine).any()):
            if why not in self._joined_by:
                self._joined_by[why] = self._components(("", why))
            if len(np.unique(self._joined_by[why][labels])) < 2:
                return why
        return None

    def _components(self, ties: tuple[str, ...] | None = None) -> np.ndarray:
        """Return each label's component, by these ties or by all."""
        chosen = [pairs for pairs, tie in self._edges if ties is None or tie in ties]
        edges = np.concatenate([*chosen, np.zeros((2, 0), np.int32)], axis=1)
        graph = coo_matrix((np.ones(edges.shape[1], np.bool_), (edges[0], edges[1])), shape=(self.count, self.count))
        return connected_components(graph, directed=False)[1].astype(np.int32)

    def _reasons(self, components: np.ndarray, entries: list[tuple[np.ndarray, str]]) -> dict[int, str]:
        reasons: dict[int, str] = {}
        for labels, why in entries:
            for component in np.unique(components[labels]).tolist():
                reasons.setdefault(component, why)
        return reasons
