"""What servers of trials have in common: a socket, a manager that lives or does not, and what a trial brings along."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

IDLE_LIMIT = 120
"""Seconds without a trial after which a server ends."""


def listen(address: Path) -> socket.socket:
    """Return a socket that listens at ``address``, where it appears as soon as it does."""
    listener = socket.socket(socket.AF_UNIX)
    draft = address.with_suffix(".new")
    draft.unlink(missing_ok=True)
    listener.bind(str(draft))
    listener.listen()
    draft.replace(address)
    return listener


def lives(manager: tuple[str, int]) -> bool:
    """Say whether somebody listens where the manager did."""
    with contextlib.suppress(OSError), socket.create_connection(manager, timeout=5):
        return True
    return False


@contextlib.contextmanager
def in_place_of(connection: socket.socket) -> Iterator[None]:
    """Have the environment, the folder and the output of the process that asks for a trial, and then one's own again.

    Raises:
        EOFError: it is gone.
    """
    header, outputs, _, _ = socket.recv_fds(connection, 8, 2)
    size, request = int.from_bytes(header, "big"), b""
    while len(request) < size or not header:
        part = connection.recv(size - len(request)) if header else b""
        if not part:
            raise EOFError
        request += part
    asked = json.loads(request)
    own_environment, own_folder, own_outputs = dict(os.environ), Path.cwd(), [os.dup(1), os.dup(2)]
    try:
        _be(asked["environment"], Path(asked["folder"]), outputs)
        yield
    finally:
        _be(own_environment, own_folder, own_outputs)


def _be(environment: dict[str, str], folder: Path, outputs: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for target, source in zip((1, 2), outputs, strict=True):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
