"""Trials forked from a warm process, so that none waits seconds for Python, PyTorch and the data to load.

The server has imported everything and loaded the task once (:mod:`.warm_server`). A forked process cannot use a device
that was in use before the fork: these trials run on the CPU.
"""

from __future__ import annotations

import sys

from autoprune.engine import client, device_in


def run(words: list[str], server: str) -> int | None:
    """Have a trial run in a child of the warm server.

    Args:
        words: what follows ``autoprune trial``.
        server: see :func:`autoprune.engine.client.ask`; this one calls :func:`.warm_server.serve`.

    Returns:
        The trial's exit status, or None if there is no server to be had, or if its network is to run on another device
        than the CPU: then run it here.
    """
    if sys.platform != "linux" or device_in(words) != "cpu":
        return None
    return client.ask(words, server, "warm")
