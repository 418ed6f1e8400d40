"""What is shown while something takes long: a bar for each stage on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from autoprune.base import progress
from autoprune.base.files import write_text
from autoprune.base.progress import Stage
from autoprune.results import units

FINDING = "Finding which channels go together (minutes for a large network)"

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

DRAWN_EVERY = 0.1
"""Seconds between two looks at what goes on, on a terminal."""

NOTED_EVERY = 2.0
"""Seconds between two notes in a file."""


@contextmanager
def waiting(console: Console, heading: str) -> Iterator[None]:
    """Show what goes on within, under a heading such as ``Training the dense model``."""
    if console.is_terminal:
        with bars(console, f"{heading} ...") as shown, progress.reported_to(_Bars(shown)):
            yield
    else:

        def say(text: str) -> None:
            console.print(f"{heading}: {text}", markup=False, highlight=False, soft_wrap=True)

        with progress.reported_to(_Words(say, EVERY)):
            yield


@contextmanager
def noted(file: Path) -> Iterator[None]:
    """Keep what goes on within in a file, in words, for who watches from elsewhere; there is none at the end."""
    try:
        with progress.reported_to(_Words(lambda text: write_text(file, text), NOTED_EVERY)):
            yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """Tell ``say`` every ten seconds, in words, what goes on within."""
    with progress.reported_to(_Words(say, EVERY)):
        yield


def bars(console: Console | None = None, heading: str = "") -> Progress:
    """Return bars without a task, each with its counts and the time that is left, below a heading if there is one."""
    bar = BarColumn(bar_width=None, table_column=Column(ratio=1))  # what the words leave
    columns = (TextColumn("{task.description}"), bar, TextColumn("{task.fields[counts]}", markup=False))
    return _Headed(heading, SpinnerColumn(), *columns, console=console, transient=True, expand=True)


class _Headed(Progress):
    def __init__(self, heading: str, *columns: ProgressColumn, **options: Any) -> None:
        self._heading = heading
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._heading:
            yield Text(self._heading)
        yield self.make_tasks_table(self.tasks)


def time_left(seconds: float | None) -> str:
    """Return ``, about 1 min 52 s left``, or nothing where that is not known."""
    return "" if seconds is None else f", about {units.duration(seconds)} left"


def _counts(stage: Stage) -> str:
    return ", ".join(filter(None, (f"{stage.what} {stage.done} of {stage.total}", stage.note(), _speed(stage.speed))))


def _speed(speed: float | None) -> str:
    """Return the steps a second; of slow ones nothing, whose time left says more."""
    return "" if speed is None or speed < 2 else f"{speed:.0f}/s"


class _Bars:
    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._idle = self._shown.add_task("", total=None, counts="")
        self._tasks: dict[int, tuple[Stage, TaskID]] = {}
        self._said = 0.0

    def __call__(self, stages: list[Stage]) -> None:
        under_way = {id(stage): stage for stage in stages}
        now = time.monotonic()
        if under_way.keys() == self._tasks.keys() and now < self._said + DRAWN_EVERY:
            return
        self._said = now
        for key in self._tasks.keys() - under_way.keys():
            self._shown.remove_task(self._tasks.pop(key)[1])
        self._shown.update(self._idle, visible=not stages)
        for key, stage in under_way.items():
            counts = _counts(stage) + time_left(stage.seconds_left)
            if key not in self._tasks:
                self._tasks[key] = stage, self._shown.add_task("", total=stage.total, counts=counts)
            self._shown.update(self._tasks[key][1], completed=stage.done, counts=counts)


class _Words:
    def __init__(self, say: Callable[[str], None], every: float) -> None:
        self._say, self._every = say, every
        self._said = time.monotonic()

    def __call__(self, stages: list[Stage]) -> None:
        now = time.monotonic()
        if stages and now >= self._said + self._every:
            self._said = now
            known = next((each.seconds_left for each in stages if each.seconds_left is not None), None)
            self._say(f"{', '.join(map(_counts, stages))}{time_left(known)}")
