"""Experiments that a page shows: read from their folders, whether they run or not, and again once they have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autoprune.errors import UserError
from autoprune.nni.database import Reader, registry
from autoprune.report.versus import versus
from autoprune.results.experiment import Experiment
from autoprune.results.prepared import SENSITIVITY

SEEN = (Path("db", "nni.sqlite"), Path(SENSITIVITY), Path("recovered.json"))
"""Files of an experiment's folder: where none of them has changed, no answer has."""


class Source:
    """One experiment.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader = Reader(folder)
        self._stamp: object = None
        self._experiment: Experiment | None = None

    def load(self) -> Experiment:
        """Return the experiment, the same object as before if nothing has changed; of trials that have not, what was
        read of them stays.

        Raises:
            UserError: it has no database, or one that cannot be read.
        """
        stamp = [stamp_of(self.folder / each) for each in SEEN]
        if self._experiment is None or stamp != self._stamp:
            self._experiment = self._reader.read()
            self._stamp = stamp
        return self._experiment


class Others:
    """The other searches of the folder in which an experiment's own folder is.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source: Source | None = None
        self._compared: tuple[Experiment, Experiment, dict[str, Any]] | None = None

    def listed(self) -> list[dict[str, str]]:
        """Return those that NNI knows, by id and name, the latest first."""
        place = self._folder.parent.resolve()
        known = {
            key: each
            for key, each in registry().items()
            if key not in (self._folder.name, "", "..") and Path(key).name == key
            if Path(each["logDir"]).expanduser().resolve() == place and (place / key / SEEN[0]).is_file()
        }
        latest = sorted(known, key=lambda key: known[key]["startTime"], reverse=True)
        return [{"id": key, "name": str(known[key].get("experimentName") or key)} for key in latest]

    def beside(self, this: Experiment, other: str) -> dict[str, Any]:
        """Return :func:`.versus` of an experiment and of one that is listed.

        Raises:
            UserError: there is none of that id, or it cannot be read.
        """
        if other not in [each["id"] for each in self.listed()]:
            raise UserError(f"there is no other search {other!r} here: see `autoprune list`")
        if self._source is None or self._source.folder.name != other:
            self._source = Source(self._folder.parent / other)
        found = self._source.load()
        if self._compared is None or self._compared[0] is not this or self._compared[1] is not found:
            self._compared = this, found, versus(this, found)
        return self._compared[2]


def stamp_of(file: Path) -> tuple[object, ...]:
    """Return what is another thing once a file has changed: SQLite counts its transactions at byte 24."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            return status.st_ino, status.st_mtime_ns, status.st_size, opened.read(28)[24:]
    except OSError:
        return ()
