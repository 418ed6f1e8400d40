"""What a trial's own process does where another one runs the trial: it asks a server, and waits for the exit status.

The first trial of an experiment starts the server, which ends with the manager. Each trial process that NNI starts then
only hands over its environment, folder and output through a Unix socket. Whoever runs the trial stops when the process
that asked is gone.

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
"""What is said as soon as somebody runs the trial; its exit status follows, 128 and a number if a signal ended it."""


def ask(words: list[str], server: str, how: str, *apart: str | None) -> int | None:
    """Have a server run a trial, which is started if need be.

    Args:
        words: what follows ``autoprune trial``.
        server: the module that Python runs to start the server, with ``how``, the socket, the manager's ``HOST:PORT``
            and ``words`` as its arguments.
        how: in which way it runs trials, the engine's name.
        apart: what else trials must have in common to share a server.

    Returns:
        The trial's exit status, or None if there is no server to be had: then run it here.
    """
    if "NNI_TRIAL_COMMAND_CHANNEL" not in os.environ:
        return None
    address = _address([how, *apart, *words])
    if address is None:
        return None
    for _attempt in range(2):
        connection = _connect(address) or _start(address, how, words, server)
        if connection is None:
            return None
        status = _ask(connection)
        if status is not None:
            return status
    return None


def _ask(connection: socket.socket) -> int | None:
    """Return the exit status of this trial, or None if the server was killed before there was anyone to run it."""
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
    return status[0] if status else 137  # no word from whoever ran it nor from the server: both were killed


def _address(common: list[str | None]) -> Path | None:
    """Return the socket of the server of trials with this in common, or None if there is no folder for it."""
    folder = _private_folder()
    if folder is None:
        return None
    manager = os.environ["NNI_TRIAL_COMMAND_CHANNEL"].split("/")[2]
    content = json.dumps([os.environ["NNI_EXP_ID"], manager, sys.executable, str(Path.cwd()), common])
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


def _start(address: Path, how: str, words: list[str], module: str) -> socket.socket | None:
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
                [
                    *(sys.executable, "-P", "-m", module, how),
                    *(str(address), f"{manager.hostname}:{manager.port or 80}", *words),
                ],
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
