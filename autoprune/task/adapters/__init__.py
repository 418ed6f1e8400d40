"""Tasks from what other libraries already have: a model, its data, its loss and its metric.

Each adapter is a file with one function that returns a :class:`autoprune.Task`; its library is imported when it is
called.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from autoprune.base.tree import examples, map_tensors
from autoprune.errors import UserError


def need(library: str, adapter: str, extra: str | None = None) -> None:
    """Check that a library is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(library) is None:
        raise UserError(f"{adapter} needs {library}: pip install 'autoprune[{extra or library}]'")


def one_example(batch: Any, without: tuple[str, ...] = ()) -> Any:
    """Return the first example of a batch as an example input, without some names of a mapping."""
    if isinstance(batch, Mapping):
        batch = {name: value for name, value in batch.items() if name not in without}
    return map_tensors(lambda tensor: tensor.clone(), examples(batch, 0, 1))
