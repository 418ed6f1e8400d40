"""A worker: a process that lives, and runs one trial after the other (see :mod:`.workers`)."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Protocol

from autoprune.base import progress
from autoprune.engine import client, serving

GRACE = 5
"""Seconds that a trial which nobody waits for any more has to come to its next step; then the whole process ends."""


class Trials(Protocol):
    """What runs trials in a process that lives."""

    usable: bool
    """Whether the process can run further ones."""

    def run(self) -> int:
        """Run the trial that the environment tells of; return its exit status."""

    def clean(self) -> None:
        """Give back what the trial held."""


class Cancelled(BaseException):
    """The process that asked for the trial is gone: NNI has stopped it."""


def work(pipe: Connection, trials: Trials) -> None:
    """Run the trials whose connections come through ``pipe``, and say there when one is done; end with the server."""
    while trials.usable:
        try:
            connection = socket.socket(fileno=recv_handle(pipe))
        except (EOFError, OSError):
            return
        with connection, contextlib.suppress(OSError, EOFError):
            _run(connection, trials)
        trials.clean()
        if trials.usable:
            with contextlib.suppress(OSError):  # the server may have died meanwhile
                pipe.send("free")


def _run(connection: socket.socket, trials: Trials) -> None:
    connection.sendall(client.BEGUN)
    status, asker = 130, _Asker(connection)
    try:
        with serving.in_place_of(connection), progress.reported_to(asker.check):
            asker.watch()
            status = trials.run()
    except Cancelled:
        pass
    finally:
        asker.done.set()
        connection.sendall(bytes([status & 255]))
        connection.shutdown(socket.SHUT_RDWR)


class _Asker:
    """The process that asked for a trial, which may go at any time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._gone, self.done = connection, threading.Event(), threading.Event()

    def watch(self) -> None:
        """Notice from now on when it goes."""
        threading.Thread(target=self._wait, daemon=True).start()

    def check(self, _stages: list[progress.Stage]) -> None:
        """Raise :class:`Cancelled` if it is gone; called after every step of what takes long."""
        if self._gone.is_set() and not self.done.is_set():
            raise Cancelled

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.recv(1)  # nothing comes but the end
        self._gone.set()
        if not self.done.wait(GRACE):
            os._exit(130)
