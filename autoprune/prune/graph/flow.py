"""Who feeds whom: a model is run once, and what each layer makes is followed to where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from autoprune.base.modes import evaluating
from autoprune.base.tree import beside, call
from autoprune.results.network import ADDED, CONCATENATED, MULTIPLIED, READ, Edge

JOINS = {"add": ADDED, "add_": ADDED, "sub": ADDED, "sub_": ADDED, "cat": CONCATENATED, "stack": CONCATENATED}
"""How operations join results; any other one counts as a multiplication."""


def flow_of(model: nn.Module, example_input: Any, layers: Sequence[str]) -> tuple[Edge, ...]:
    """Return who feeds whom, each once.

    Args:
        layers: what owns a matrix, by name: modules, or parameters of the model itself.
    """
    places = {name: place for place, name in enumerate(layers)}
    named = ((name.rpartition(".")[0] or name, parameter) for name, parameter in model.named_parameters())
    follower = _Follower({id(parameter): places[owner] for owner, parameter in named if owner in places})
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is one operation for many layers
    try:
        with torch.no_grad(), evaluating(model), follower:
            call(model, beside(model, example_input))
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    return tuple(follower.edges)


@dataclass(frozen=True, eq=False)
class _Result:
    """What is there after a layer: what it made, or what that was joined with.

    Args:
        place: of the layer, the later one of those that were joined.
        parts: what was concatenated.
    """

    place: int
    parts: frozenset[_Result] = frozenset()


class _Follower(TorchDispatchMode):
    """Follows results through the operations of a running model.

    Args:
        owners: the place of the layer that owns a parameter, by the parameter's ``id``.
    """

    def __init__(self, owners: Mapping[int, int]) -> None:
        super().__init__()
        self.edges: dict[Edge, None] = {}
        self._owners = owners
        self._weights: WeakIdKeyDictionary = WeakIdKeyDictionary()  # made of a layer's parameters alone: its place
        self._results: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._concatenated: list[_Result] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        made = [each for each in tree_leaves(out) if isinstance(each, Tensor)]
        weights = [place for each in given if (place := self._owner(each)) is not None]
        results = list(dict.fromkeys(self._results[each] for each in given if each in self._results))
        if weights and len(weights) == len(given):
            self._weights.update({each: max(weights) for each in made})
        elif weights or results:
            found = self._run(max(weights), results) if weights else self._join(func, results)
            for each in made:
                self._results[each] = found
        return out

    def _owner(self, tensor: Tensor) -> int | None:
        return self._owners.get(id(tensor), self._weights.get(tensor))

    def _run(self, place: int, results: Sequence[_Result]) -> _Result:
        self._note(results, place, READ)
        return _Result(place)

    def _join(self, func: Any, results: Sequence[_Result]) -> _Result:
        if len(results) == 1:
            return results[0]
        kind, place = JOINS.get(func.overloadpacket.__name__, MULTIPLIED), max(each.place for each in results)
        if kind != CONCATENATED:
            self._note(results, place, kind)
            return _Result(place)
        joined = _Result(place, frozenset(results))
        # A dense block concatenates all before it again and again: what was one stays one.
        before = next((each for each in reversed(self._concatenated) if each.parts < joined.parts), None)
        self._note([*(joined.parts - before.parts), before] if before else results, place, kind)
        self._concatenated.append(joined)
        return joined

    def _note(self, results: Sequence[_Result], target: int, kind: str) -> None:
        edges = (Edge(each.place, target, kind) for each in results if each.place != target)
        self.edges.update(dict.fromkeys(sorted(edges)))
