"""Trials in workers: processes that live, with the device in use and everything loaded, and run trial after trial.

The server (:mod:`.workers_server`) holds as many workers as there are trials at once. They were spawned, not forked: a
forked process cannot use a device that was in use before.
"""

from __future__ import annotations

import os
import sys

from autoprune.engine import client

DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""Variables by which NNI or a user gives a trial some devices of the machine: they cannot change in a process."""


def run(words: list[str], server: str) -> int | None:
    """Have a trial run in a worker.

    Args:
        words: what follows ``autoprune trial``.
        server: see :func:`autoprune.engine.client.ask`; this one calls :func:`.workers_server.serve`.

    Returns:
        The trial's exit status, or None if there is no server to be had: then run it here.
    """
    if sys.platform == "win32":
        return None
    return client.ask(words, server, "workers", *map(os.environ.get, DEVICES))
