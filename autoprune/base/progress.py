"""How far something that takes long has come: reported where it happens, and shown by whoever wants to show it.

Nobody shows it by default: a library is silent. :mod:`autoprune.report.waiting` shows it on a terminal or in a log.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Stage:
    """Something that is done in steps.

    Args:
        what: one step is called: ``training step``.
        total: how many there are, at most.
        done: how many are done.
        begun: when it began, by :func:`time.monotonic`.
        note: what else there is to say, such as ``loss 0.41``; asked for only when it is shown.
    """

    what: str
    total: int
    done: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())
    note: Callable[[], str] = field(default=str, repr=False)

    def __post_init__(self) -> None:
        """Remember what was done before."""
        self._before = self.done

    @property
    def speed(self) -> float | None:
        """Steps a second so far, or None before the first."""
        seconds = time.monotonic() - self.begun
        return (self.done - self._before) / seconds if self.done > self._before and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """An estimate from how long the steps so far took, or None before the first."""
        new = self.done - self._before
        return (time.monotonic() - self.begun) / new * (self.total - self.done) if new else None


Listener = Callable[[list[Stage]], None]
"""Called whenever something changes, with the stages under way, the outermost first."""

_heard: ContextVar[tuple[int, Listener, list[Stage]] | None] = ContextVar("heard", default=None)
"""The process that listens (not those forked from it), its listener, and the stages under way."""


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear of all that is tracked within, in this process; who listened before hears it too."""
    outer = _heard.get()
    listeners = [listener] if outer is None or outer[0] != os.getpid() else [listener, outer[1]]

    def tell(stages: list[Stage]) -> None:
        for each in listeners:
            each(stages)

    token = _heard.set((os.getpid(), tell, []))
    try:
        yield
    finally:
        _heard.reset(token)


def track(items: Iterable[T], what: str, total: int, done: int = 0) -> Iterable[T]:
    """Return the items, one for each step of a stage; see :class:`Stage` for the arguments."""
    heard = _heard.get()
    if heard is None or heard[0] != os.getpid():
        return items
    _, listener, stages = heard
    return _tracked(items, Stage(what, total, done), stages, listener)


def note(words: Callable[..., str], *values: Any) -> None:
    """Say more of the innermost stage under way; ``words`` is called, with the values, if somebody wants to show it."""
    heard = _heard.get()
    if heard is not None and heard[0] == os.getpid() and heard[2]:
        heard[2][-1].note = partial(words, *values)


def share(words: str) -> float | None:
    """Return which share is done of what words about stages say; None where they say nothing of it.

    The words are those of :func:`autoprune.report.waiting.noted`: the outermost stage first, each with its steps.
    """
    done = None
    for steps, total in reversed(re.findall(r"(\d+) of (\d+)", words)):
        done = min(1.0, (int(steps) + (done or 0)) / int(total)) if int(total) else done
    return done


def _tracked(items: Iterable[T], stage: Stage, stages: list[Stage], listener: Listener) -> Iterator[T]:
    stages.append(stage)
    try:
        listener(stages)
        for item in items:
            yield item
            stage.done += 1
            listener(stages)
    finally:
        stages.remove(stage)
        listener(stages)
