"""The tuner's end of the wire to NNI's manager."""

from __future__ import annotations

import json
import os
import threading
from queue import SimpleQueue
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

GRACE = 1.5
"""Seconds that a busy tuner has to come to an end after the manager stopped it or died."""


class ManagerLost(Exception):
    """The connection broke without a goodbye: the manager was killed."""


class Channel:
    """A connection to the manager that never reconnects, with the interface of NNI's ``TunerCommandChannel``.

    NNI's own channel tries to reconnect for ten seconds after its manager was killed, and so walks into the manager
    that resumes the experiment. Commands are read in a thread, so that a busy tuner hears of the end too.

    Args:
        url: the manager's ``ws://localhost:PORT/tuner``.
    """

    def __init__(self, url: str) -> None:
        # No pings (the manager sends them) and no proxy: the other end is on this machine.
        self._socket = connect(url, max_size=None, ping_interval=None, proxy=None, compression=None)
        self._commands: SimpleQueue[dict[str, Any] | Exception | None] = SimpleQueue()
        self._greeted = threading.Event()
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def send(self, command: str, content: str) -> None:
        """Send one command, such as ``TR`` for a new trial.

        Raises:
            ManagerLost: nobody listens any more.
        """
        try:
            self._socket.send(json.dumps({"type": command, "content": content}))
        except ConnectionClosed as error:
            raise ManagerLost from error

    def receive(self) -> tuple[str, str] | None:
        """Wait for the next command and return its name and content, or None once the manager said goodbye.

        Raises:
            ManagerLost: the manager was killed.
        """
        command = self._commands.get()
        if isinstance(command, Exception):
            raise command
        return None if command is None else (command["type"], command.get("content", ""))

    def report_error(self, reason: str) -> None:
        """Tell the manager that the tuner failed; the experiment's status becomes ERROR."""
        self._greeted.wait(timeout=30)  # earlier, nobody in the manager handles errors yet
        self.send("ER", reason)

    def close(self) -> None:
        """Say goodbye: without it, the manager would wait for a reconnection."""
        try:
            self._socket.send(json.dumps({"type": "_bye_"}))
            self._socket.close()
        except ConnectionClosed:
            pass

    def connect(self) -> None:
        """Do nothing (NNI's interface; a channel is connected when it is made)."""

    disconnect = close

    def _send(self, command: Any, content: str) -> None:
        self.send(command.value, content)

    def _read(self) -> None:
        try:
            for message in self._socket:
                command = json.loads(message)
                self._greeted.set()
                if command["type"] in ("TE", "_bye_"):
                    return self._end(None)
                if command["type"] != "_nop_":
                    self._commands.put(command)
        except ConnectionClosed:
            pass
        return self._end(ManagerLost())

    def _end(self, last: ManagerLost | None) -> None:
        self._commands.put(last)
        timer = threading.Timer(GRACE, os._exit, args=[1])
        timer.daemon = True
        timer.start()
