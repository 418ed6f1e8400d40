"""The warm process: it has loaded everything, and forks a child for each trial (see :mod:`.warm`)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from autoprune.engine import warm

IDLE_LIMIT = 120
"""Seconds without a trial after which the server ends."""


def serve(address: Path, manager: tuple[str, int], run_trial: Callable[[], int]) -> None:
    """Fork a child that calls ``run_trial`` for each connection, until the manager is gone or nobody asks any more."""
    children: dict[int, socket.socket] = {}
    listener = socket.socket(socket.AF_UNIX)
    draft = address.with_suffix(".new")
    draft.unlink(missing_ok=True)
    listener.bind(str(draft))
    listener.listen()
    draft.replace(address)
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
        elif not _listens(manager) or (time.monotonic() - last > IDLE_LIMIT and not children):
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
        connection.sendall(warm.BEGUN)
        header, outputs, _, _ = socket.recv_fds(connection, 8, 2)
        size, request = int.from_bytes(header, "big"), b""
        while len(request) < size:
            request += connection.recv(size - len(request))
        asked = json.loads(request)
        for target, source in zip((1, 2), outputs, strict=True):
            os.dup2(source, target)
        threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
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


def _listens(manager: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(manager, timeout=5):
        return True
    return False
