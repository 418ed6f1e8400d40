"""Where the trials that NNI starts run: in the process that it starts, forked from a warm one, or in a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from autoprune.base.registry import Registry

Engine = Callable[[list[str], str], int | None]
"""Runs one trial somewhere else.

Args:
    words: what follows ``autoprune trial``.
    server: the module that serves trials to this process (see :func:`autoprune.engine.client.ask`).

Returns:
    The trial's exit status, or None: then it runs in the process that has asked.
"""

ENGINES: Registry[Engine] = Registry(
    "engine",
    {
        "warm": "autoprune.engine.warm:run",
        "workers": "autoprune.engine.workers:run",
        "here": "autoprune.engine.here:run",
    },
    "autoprune.engines",
)


def chosen(words: Sequence[str] = ()) -> Engine:
    """Return the engine that the environment names in ``AUTOPRUNE_ENGINE``.

    If it names none: the warm process on the CPU, workers on another device.

    Args:
        words: what follows ``autoprune trial``.

    Raises:
        UserError: there is none of that name.
    """
    by_itself = "warm" if device_in(words) == "cpu" else "workers"
    return ENGINES[os.environ.get("AUTOPRUNE_ENGINE") or by_itself]


def device_in(words: Sequence[str]) -> str:
    """Return the device that the options of a trial name, ``cpu`` if none."""
    device = "cpu"
    for word, after in zip(words, [*words, ""][1:], strict=True):
        if word == "--device":
            device = after
        elif word.startswith("--device="):
            device = word.partition("=")[2]
    return device
