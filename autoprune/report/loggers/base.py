"""What a logger is: it passes on what a search finds to somebody's tracker of experiments."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Args:
        id: its id.
        step: how many had ended then, from 1.
        numbers: ``trial/MEASURE``, and of its parameters ``sparsity/GROUP`` and the like; of a failed one the latter.
        texts: its criterion, its schedule, why it failed.
        failed: whether it did.
    """

    id: str
    step: int
    numbers: Mapping[str, float]
    texts: Mapping[str, str]
    failed: bool


@dataclass(frozen=True)
class Outcome:
    """The end of a search.

    Args:
        front: as CSV, a row for each of its networks.
        chosen: which one is taken home, and why; empty if there is none.
        numbers: ``chosen/MEASURE``.
        files: of the model that was taken home, its cards among them; none where none was.
    """

    front: str
    chosen: str
    numbers: Mapping[str, float]
    files: Sequence[Path]

    @property
    def table(self) -> tuple[list[str], list[list[str]]]:
        """The front's columns and its rows."""
        columns, *rows = csv.reader(io.StringIO(self.front))
        return columns, rows


class Logger(ABC):
    """One run in a tracker. What it raises after :meth:`begin` ends the logging, not the search."""

    package: ClassVar[str] = ""
    """What must be installed, as it is imported."""

    @abstractmethod
    def begin(self, name: str, about: Mapping[str, str]) -> str:
        """Open a run called ``name``, with what the search is; return where it can be seen."""

    @abstractmethod
    def doing(self, words: str) -> None:
        """Say what is going on: ``training step 120 of 400, about 8 s left``."""

    @abstractmethod
    def trial(self, ended: Ended) -> None:
        """Log a trial."""

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """Log the front and the chosen model."""

    @abstractmethod
    def close(self, complete: bool) -> None:
        """Close the run; ``complete`` unless the search was stopped or failed."""
