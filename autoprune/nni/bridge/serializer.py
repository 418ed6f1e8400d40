"""Reading what NNI sends, without unpickling or importing anything."""

from __future__ import annotations

import json
import sys
from typing import Any

_DATA_KINDS = "biufc"
"""The numpy kinds that hold numbers only (never objects): booleans, integers, floats, complex numbers."""


def load(string: str | None = None, *, fp: Any = None, **options: Any) -> Any:
    """Read JSON as ``nni.load`` does, except that a received string is only ever data.

    ``nni.load`` unpickles and imports what a string tells it to, and cuts strings at ``#`` and ``//``. Numpy scalars
    and arrays of numbers, which trials report, are still restored; all else stays as the plain dict that it is.

    Args:
        string: the received text.
        fp: a file of this machine's own, read by ``nni.load`` itself.
        options: for ``nni.load``.
    """
    if fp is not None:
        return _nni_load(fp=fp, **options)
    return json.loads(string or "", object_hook=_restore_numbers)


def receive_plain_json() -> None:
    """Make every module of NNI in this process read what it receives with :func:`load`. Idempotent."""
    import nni.runtime.msg_dispatcher
    import nni.runtime.trial_command_channel.v3
    import nni.runtime.tuner_command_channel.channel  # noqa: F401

    original = _nni_load
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "nni" and vars(module).get("load") is original:
            vars(module)["load"] = load


def _restore_numbers(item: dict[str, Any]) -> Any:
    if "__ndarray__" not in item:
        return item
    import numpy

    dtype = numpy.dtype(item["dtype"])
    if dtype.kind not in _DATA_KINDS:
        return item
    return numpy.asarray(item["__ndarray__"], dtype=dtype).reshape(item["shape"])[()]


def _original() -> Any:
    from nni.common import serializer

    return serializer.load


_nni_load = _original()
