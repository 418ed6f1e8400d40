"""The server of the workers: it spawns them, hands each trial to one that is free, and speaks for those that died."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import send_handle
from pathlib import Path

from autoprune.engine import serving


def serve(address: Path, manager: tuple[str, int], work: Callable[[Connection], None]) -> None:
    """Hand each connection to a worker, until the manager is gone or nobody asks any more.

    A worker is spawned when there is a trial and no worker is free: there are as many as trials at once.

    Args:
        work: what a worker does with its end of a pipe, see :func:`autoprune.engine.worker.work`.
    """
    workers: list[_Worker] = []
    waiting: list[socket.socket] = []
    listener, last = serving.listen(address), time.monotonic()
    try:
        while True:
            heard = wait([listener, *(each.pipe for each in workers), *(each.sentinel for each in workers)], timeout=1)
            if listener in heard:
                waiting.append(listener.accept()[0])
            workers = [worker for worker in workers if worker.still_works()]
            while waiting and (worker := _free_one(workers, work)):
                worker.take(waiting.pop(0))
            if waiting or any(each.connection for each in workers):
                last = time.monotonic()
            if not heard and (not serving.lives(manager) or time.monotonic() - last > serving.IDLE_LIMIT):
                return
    finally:
        address.unlink(missing_ok=True)
        for worker in workers:
            worker.end()


def _free_one(workers: list[_Worker], work: Callable[[Connection], None]) -> _Worker | None:
    """Return a worker that is free, spawned now if need be; None if one will soon be, because its trial was stopped."""
    for worker in workers:
        if worker.connection is None:
            return worker
    if any(worker.is_stopping() for worker in workers):
        return None
    workers.append(_Worker.spawned(work))
    return workers[-1]


@dataclass
class _Worker:
    """A worker as the server sees it.

    Args:
        process: the worker.
        pipe: to it.
        connection: of the trial that it runs; None if it is free.
    """

    process: SpawnProcess
    pipe: Connection
    connection: socket.socket | None = None

    @classmethod
    def spawned(cls, work: Callable[[Connection], None]) -> _Worker:
        """Return a new one. Not a daemon by Python's word: a loader's own processes are its children."""
        context = get_context("spawn")
        pipe, its_own = context.Pipe()
        process = context.Process(target=work, args=(its_own,))
        process.start()
        its_own.close()
        return cls(process, pipe)

    @property
    def sentinel(self) -> int:
        """What becomes ready when it has ended."""
        return self.process.sentinel

    def take(self, connection: socket.socket) -> None:
        """Give it a trial."""
        self.connection = connection
        with contextlib.suppress(OSError):  # it is just dying: see still_works
            send_handle(self.pipe, connection.fileno(), self.process.pid)

    def is_stopping(self) -> bool:
        """Whether nobody waits for its trial any more."""
        if self.connection is None:
            return False
        poll = select.poll()
        poll.register(self.connection, select.POLLHUP)
        return bool(poll.poll(0))

    def still_works(self) -> bool:
        """Hear what it says; if it has ended, say by which signal to whoever waits for its trial."""
        try:
            while self.pipe.poll():
                self.pipe.recv()
                self._let_go()
        except (EOFError, OSError):
            self.process.join(timeout=1)
        if self.process.exitcode is None:
            return True
        status = 128 - self.process.exitcode if self.process.exitcode < 0 else self.process.exitcode or 1
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.sendall(bytes([status & 255]))
        self._let_go()
        self.pipe.close()
        return False

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.join()

    def _let_go(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None
