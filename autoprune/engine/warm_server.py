"""The warm process: it has loaded everything, and forks a child for each trial (see :mod:`.warm`)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from autoprune.engine import client, serving


def serve(address: Path, manager: tuple[str, int], run_trial: Callable[[], int]) -> None:
    """Fork a child that calls ``run_trial`` for each connection, until the manager is gone or nobody asks any more."""
    children: dict[int, socket.socket] = {}
    listener = serving.listen(address)
    last = time.monotonic()
    while True:
        ready, _, _ = select.select([listener], [], [], 1)
        if ready:
            connection, _ = listener.accept()
            last = time.monotonic()
            child = os.fork()
            if child == 0:
                for other in (listener, *children.values()):
                    other.close()
                _be_trial(connection, run_trial)
            children[child] = connection
        elif not serving.lives(manager) or (time.monotonic() - last > serving.IDLE_LIMIT and not children):
            address.unlink(missing_ok=True)
            return
        _reap(children)


def _reap(children: dict[int, socket.socket]) -> None:
    """Let go of the children that have ended; speak for those that a signal has killed."""
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with children.pop(child) as connection, contextlib.suppress(OSError):
            if os.WIFSIGNALED(status):
                connection.sendall(bytes([128 + os.WTERMSIG(status)]))


def _be_trial(connection: socket.socket, run_trial: Callable[[], int]) -> None:
    status = 1
    try:
        connection.sendall(client.BEGUN)
        with serving.in_place_of(connection):
            threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
            status = run_trial()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(bytes([status & 255]))
        os._exit(status)


def _die_with(connection: socket.socket) -> None:
    """End this process as soon as the other end of ``connection`` closes: NNI has stopped the trial."""
    if not connection.recv(1):
        os._exit(130)
