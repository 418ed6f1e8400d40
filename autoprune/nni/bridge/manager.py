"""One manager as a process and as a server: whether its tuner is up, its end, and what it leaves behind."""

from __future__ import annotations

import contextlib
import socket
import time
from subprocess import Popen
from typing import Annotated, Any

import psutil
from pydantic import Field

from autoprune.base.checked import check
from autoprune.errors import UserError
from autoprune.nni import client

START_LIMIT = 120
"""Seconds to wait for the manager, and then for the tuner; a slower tuner is left to start by itself."""


class TunerFailed(RuntimeError):
    """The manager or its tuner could not be started. Its text is one line; no process is left behind."""


def check_port(port: int) -> None:
    """Raise :class:`UserError` if a manager cannot listen at ``port``."""
    check("port", port, Annotated[int, Field(ge=1, le=65_535)])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Node does: what is left of closed ones is free
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise UserError(f"port {port} is the system's: choose one from 1024 up with --port") from None
        except OSError:
            raise UserError(f"port {port} is in use: choose another one with --port") from None


def end_orphans(experiment_id: str) -> int:
    """End the trials and the tuner that outlived a killed manager, and return how many processes they were.

    They would report to the next manager, as the trials that run in their place.
    """
    ended = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("NNI_EXP_ID") == experiment_id:
                process.kill()
                ended += 1
        except psutil.Error:  # gone, or somebody else's
            continue
    return ended


def wait_for_tuner(manager: Popen, port: int, url_prefix: str | None) -> None:
    """Return as soon as the tuner is up, or after :data:`START_LIMIT` seconds.

    Raises:
        TunerFailed: the tuner or the manager failed; both are stopped.
    """
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if manager.poll() is not None:
            raise TunerFailed("NNI's manager ended while the tuner started; see log/nnimanager.log")
        try:
            status = client.get(port, "check-status", url_prefix)
        except OSError:  # the manager is about to end
            time.sleep(0.1)
            continue
        if status["status"] == "ERROR":
            end_manager(manager.pid, port, url_prefix)
            raise failure(status)
        if status.get("tuner", "ready") == "ready":
            return
        time.sleep(0.1)


def failure(status: dict[str, Any]) -> TunerFailed:
    """Return the error that a manager's answer to ``check-status`` tells of."""
    return TunerFailed("the tuner failed: " + "; ".join(status["errors"]))


def end_manager(pid: int, port: int, url_prefix: str | None, limit: float = 10) -> None:
    """End a manager and all its processes, by force after ``limit`` seconds."""
    manager = psutil.Process(pid)
    family = [manager, *manager.children(recursive=True)]
    try:
        client.delete(port, "experiment", url_prefix)
    except OSError:  # it does not answer
        manager.terminate()
    psutil.wait_procs([manager], timeout=limit)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # most have ended by now
            process.kill()
