"""Trials forked from a warm process, so that none waits seconds for Python, PyTorch and the data to load.

The first trial of an experiment starts a server that imports everything and loads the task once. Each trial process
that NNI starts then only asks the server, over a Unix socket, to fork a child that runs the trial with this process's
environment, folder and output, and waits for its exit status. The child dies with the process that asked for it, and
the server ends with the manager.

What is here runs anew for every trial: it imports little, and what only the first one needs where that needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import sys
import time
from pathlib import Path

START_LIMIT = 300
"""Seconds to wait for the server, which may have to train the dense model first."""
FOLDERS = 20
"""Names that are tried for the folder of the sockets: others may have taken some, in a folder like /tmp."""

BEGUN = b"\xff"
"""What a child says as soon as it is there; its exit status follows, 128 and a signal's number if that ended it."""


def run(words: list[str], server: str) -> int | None:
    """Have a trial run in a child of the warm server, which is started if need be.

    Args:
        words: what follows ``autoprune trial``.
        server: the module that Python runs to start the server, with the socket, the manager's ``HOST:PORT`` and
            ``words`` as its arguments; it loads what the trials need and calls :func:`.warm_server.serve`.

    Returns:
        The trial's exit status, or None if there is no server to be had, or if its network is to run on another device
        than the CPU: then run it here.
    """
    if sys.platform != "linux" or "NNI_TRIAL_COMMAND_CHANNEL" not in os.environ:
        return None
    if _device(words) != "cpu":
        return None
    address = _address(words)
    if address is None:
        return None
    for _attempt in range(2):
        connection = _connect(address) or _start(address, words, server)
        if connection is None:
            return None
        status = _ask(connection)
        if status is not None:
            return status
    return None


def _device(words: list[str]) -> str:
    """Return the device that the options name: one other than the CPU cannot be used in a forked process."""
    device = "cpu"
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--device":
            device = after
        elif word.startswith("--device="):
            device = word.partition("=")[2]
    return device


def _ask(connection: socket.socket) -> int | None:
    """Return the exit status of a child that runs this trial, or None if the server was killed before there was one."""
    request = json.dumps({"environment": dict(os.environ), "folder": str(Path.cwd())}).encode()
    with connection:
        try:
            socket.send_fds(connection, [len(request).to_bytes(8, "big")], [1, 2])
            connection.sendall(request)
            if connection.recv(1) != BEGUN:
                return None
        except OSError:
            return None
        status = connection.recv(1)
    return status[0] if status else 137  # no word from the child nor from the server: both were killed


def _address(words: list[str]) -> Path | None:
    """Return the server's socket, or None if there is no folder for it."""
    folder = _private_folder()
    if folder is None:
        return None
    manager = os.environ["NNI_TRIAL_COMMAND_CHANNEL"].split("/")[2]
    content = json.dumps([os.environ["NNI_EXP_ID"], manager, sys.executable, str(Path.cwd()), words])
    return folder / f"{hashlib.sha256(content.encode()).hexdigest()[:20]}.sock"


def _private_folder() -> Path | None:
    """Return the folder that only this user can enter, the same for every trial; None if none can be had."""
    name = Path(os.environ.get("TMPDIR") or "/tmp", f"autoprune-{os.getuid()}")  # tempfile takes long to import
    for folder in [name, *(name.with_name(f"{name.name}-{number}") for number in range(1, FOLDERS))]:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()  # of a link itself: it is passed over
        except FileExistsError:
            continue
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return folder
    return None


def _connect(address: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        return None
    return connection


def _start(address: Path, words: list[str], module: str) -> socket.socket | None:
    """Start the server, unless another trial just has, and connect to it as soon as it is ready."""
    import subprocess
    from urllib.parse import urlsplit

    from filelock import FileLock

    with FileLock(f"{address}.lock"):
        connection = _connect(address)
        if connection is not None:
            return connection
        address.unlink(missing_ok=True)
        manager = urlsplit(os.environ["NNI_TRIAL_COMMAND_CHANNEL"])
        log = Path(os.environ["NNI_OUTPUT_DIR"]).parent / "warm.log"
        # The server is no trial: without NNI's variables its import of nni opens no trial's log.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NNI_")}
        # -P: a task's json.py in this folder must not stand in for the standard library's.
        with log.open("ab") as output:
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(address), f"{manager.hostname}:{manager.port or 80}", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and server.poll() is None:
            connection = _connect(address)
            if connection is not None:
                return connection
            time.sleep(0.02)
    return None
