"""Trials forked from a warm process, so that none waits seconds for Python, PyTorch and the data to load.

The first trial of an experiment starts a server that imports everything and loads the task once. Each trial process
that NNI starts then only asks the server, over a Unix socket, to fork a child that runs the trial with this process's
environment, folder and output, and waits for its exit status. The child dies with the process that asked for it, and
the server ends with the manager.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

START_LIMIT = 300
"""Seconds to wait for the server, which may have to train the dense model first."""
IDLE_LIMIT = 120
"""Seconds without a trial after which the server ends."""


def run(words: list[str]) -> int | None:
    """Have a trial run in a child of the warm server, which is started if need be.

    Args:
        words: what follows ``autoprune trial``.

    Returns:
        The trial's exit status, or None if there is no server to be had: then run it here.
    """
    if sys.platform != "linux" or "NNI_TRIAL_COMMAND_CHANNEL" not in os.environ or os.environ.get("AUTOPRUNE_COLD"):
        return None
    connection = _connect_or_start(_address(words), words)
    if connection is None:
        return None
    with connection:
        request = json.dumps({"environment": dict(os.environ), "folder": str(Path.cwd())}).encode()
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [1, 2])
        connection.sendall(request)
        status = connection.recv(1)
    return status[0] if status else 137  # no word from the child: it was killed


def _address(words: list[str]) -> Path:
    """Return the server's socket, in a folder that only this user can enter."""
    folder = Path(tempfile.gettempdir(), f"autoprune-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise PermissionError(f"{folder} is open to other users: remove it")
    content = json.dumps([os.environ["NNI_EXP_ID"], _manager(), sys.executable, str(Path.cwd()), words])
    return folder / f"{hashlib.sha256(content.encode()).hexdigest()[:20]}.sock"


def _manager() -> tuple[str, int]:
    url = urlsplit(os.environ["NNI_TRIAL_COMMAND_CHANNEL"])
    return url.hostname or "127.0.0.1", url.port or 80


def _connect_or_start(address: Path, words: list[str]) -> socket.socket | None:
    with FileLock(f"{address}.lock"):
        connection = _connect(address)
        if connection is not None:
            return connection
        address.unlink(missing_ok=True)
        log = Path(os.environ.get("NNI_OUTPUT_DIR", tempfile.gettempdir())).parent / "warm.log"
        # The server is no trial: without NNI's variables its import of nni opens no trial's log.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NNI_")}
        host, port = _manager()
        with log.open("ab") as output:
            server = subprocess.Popen(
                [sys.executable, "-m", "autoprune.experiment.warm", str(address), f"{host}:{port}", *words],
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


def _connect(address: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        return None
    return connection


def serve(address: Path, manager: tuple[str, int], run_trial: Callable[[], int]) -> None:
    """Fork a child that calls ``run_trial`` for each connection, until the manager is gone or nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
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
            if os.fork() == 0:
                listener.close()
                _be_trial(connection, run_trial)
            connection.close()
        elif not _listens(manager) or (time.monotonic() - last > IDLE_LIMIT and not _has_children()):
            address.unlink(missing_ok=True)
            return


def _be_trial(connection: socket.socket, run_trial: Callable[[], int]) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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


def _has_children() -> bool:
    import psutil

    return bool(psutil.Process().children())


def _main() -> None:
    address, manager, *words = sys.argv[1:]
    from autoprune.experiment import trial_process

    trial = trial_process.Prepared(words)
    host, _, port = manager.rpartition(":")
    serve(Path(address), (host, int(port)), trial.run)


if __name__ == "__main__":
    _main()
