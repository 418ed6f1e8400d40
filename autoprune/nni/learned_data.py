"""What a search learned, for the page in the browser: worked out by a process of its own, as it takes seconds.

``python -m autoprune.nni.learned_data FOLDER`` prints it as JSON (:func:`autoprune.report.learned.learned`) and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PAUSE_S = 5.0
"""Between two processes, at least."""

SHARE = 0.2
"""Of the time, that processes run at most while results keep coming."""


class Learned:
    """The latest of what was learned from one experiment, never waited for.

    Args:
        folder: the experiment's.
        clock: seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._running_for = self._known_for = ""
        self._began = 0.0
        self._not_before = float("-inf")
        self._known: dict[str, Any] = {}

    def latest(self, key: str) -> dict[str, Any]:
        """Return what is known, ``of`` which results; if those are others by now, somebody works on it.

        Args:
            key: is another one when there are other results.
        """
        self._collect()
        if self._process is None and self._known_for != key and self._clock() >= self._not_before:
            self._start(key)
        return {"of": self._known_for, "working": self._known_for != key, **self._known}

    def close(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, key: str) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (_collect closes it, once the process has ended)
        command = [sys.executable, "-P", "-m", "autoprune.nni.learned_data", str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._output)
        self._running_for, self._began = key, self._clock()

    def _collect(self) -> None:
        if self._process is None or self._output is None or self._process.poll() is None:
            return
        with self._output as output:
            output.seek(0)
            text = output.read()
        try:
            self._known = json.loads(text)
        except ValueError:
            reason = f"what the search learned cannot be worked out: status {self._process.returncode}, see log/"
            self._known = {"error": reason}
        ended = self._clock()
        self._not_before = ended + max(PAUSE_S, (ended - self._began) * (1 / SHARE - 1))
        self._known_for, self._process, self._output = self._running_for, None, None


def main(folder: Path) -> None:
    """Print what was learned."""
    from autoprune.errors import UserError
    from autoprune.nni.database import load_experiment
    from autoprune.report.learned import learned

    try:
        print(json.dumps(learned(load_experiment(folder))))
    except UserError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
