"""Registries: names of things that can be added, each imported only when it is asked for.

A registry is written down where its things are defined, one line for each::

    CRITERIA = Registry("criterion", {"l1_norm": "autoprune.prune.criteria.magnitude:L1_NORM"}, "autoprune.criteria")

Another package adds its own without a change here, by an entry point of the group in its ``pyproject.toml``::

    [project.entry-points."autoprune.criteria"]
    my_norm = "my_package.norms:MY_NORM"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Generic, TypeVar

from autoprune.errors import UserError, unknown

T = TypeVar("T")
_NONE: Mapping[str, str] = MappingProxyType({})


class Registry(Mapping[str, T], Generic[T]):
    """Things by name. Names are known without an import; a thing is imported when it is first looked up.

    Args:
        kind: what its things are called in messages, such as ``criterion``.
        places: where each is, ``module:attribute``, by name.
        group: the entry points by which other packages add theirs.
        former: names that things had in earlier versions, and those that they have now. They are not listed.
    """

    def __init__(self, kind: str, places: Mapping[str, str], group: str, former: Mapping[str, str] = _NONE) -> None:
        self.kind, self.group, self.former = kind, group, former
        self._own = dict(places)
        self._loaded: dict[str, T] = {}

    @cached_property
    def _places(self) -> dict[str, str]:
        """Where each thing is, other packages' too; AutoPrune's own names cannot be taken over."""
        from importlib.metadata import entry_points  # half of what a trial's process needs to ask for a registry

        return self._own | {
            point.name: point.value for point in entry_points(group=self.group) if point.name not in self._own
        }

    def __getitem__(self, name: str) -> T:
        """Return the thing called ``name``.

        Raises:
            UserError: there is none, with the near matches; or another package's cannot be imported.
        """
        if isinstance(name, str):
            name = self.former.get(name, name)
        if not isinstance(name, str) or name not in self._own and name not in self._places:
            raise unknown(self.kind, name, self)
        if name not in self._loaded:
            place = self._own.get(name) or self._places[name]
            try:
                self._loaded[name] = resolve_name(place)
            except Exception as error:
                if name in self._own:
                    raise
                why = f"{type(error).__name__}: {error}"
                raise UserError(f"{self.kind} {name} of the entry point {place} cannot be loaded: {why}") from error
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.former.get(name, name) in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
