"""Where the trials that NNI starts run: in the process that it starts, or forked from a warm one."""

from __future__ import annotations

import os
from collections.abc import Callable

from autoprune.base.registry import Registry

Engine = Callable[[list[str], str], int | None]
"""Runs one trial somewhere else.

Args:
    words: what follows ``autoprune trial``.
    server: the module that serves as a warm process (see :func:`autoprune.engine.warm.run`).

Returns:
    The trial's exit status, or None: then it runs in the process that has asked.
"""

ENGINES: Registry[Engine] = Registry(
    "engine",
    {
        "warm": "autoprune.engine.warm:run",
        "here": "autoprune.engine.here:run",
    },
    "autoprune.engines",
)


def chosen() -> Engine:
    """Return the engine that the environment names in ``AUTOPRUNE_ENGINE``; the warm process if it names none.

    Raises:
        UserError: there is none of that name.
    """
    return ENGINES[os.environ.get("AUTOPRUNE_ENGINE") or "warm"]
