"""Libraries that are kept quiet."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

CHATTY = ("torch.utils._pytree", "torch.onnx", "nni")
"""Loggers that tell users of what only their own authors can mend. What fails is raised."""

OURS = str(Path(__file__).parents[1])
"""The package: its own warnings are for users, and so are those of their files."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' progress reports off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def quiet_loggers() -> Iterator[None]:
    """Let :data:`CHATTY` tell of errors only."""
    before = {name: logging.getLogger(name).level for name in CHATTY}
    try:
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def quiet_libraries() -> None:
    """Keep libraries' warnings off the terminal, for the rest of this process; of the command line only."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if getattr(warnings.showwarning, "quiet", False):
        return
    show = warnings.showwarning

    def only_ours(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not is_librarys(filename):
            show(message, category, filename, lineno, file, line)

    only_ours.quiet = True  # type: ignore[attr-defined]
    warnings.showwarning = only_ours


def is_librarys(filename: str) -> bool:
    """Whether a file is neither AutoPrune's nor the user's."""
    libraries = [sysconfig.get_path("stdlib"), *(each for each in sys.path if each.endswith("-packages"))]
    return filename.startswith(tuple(f"{each}/" for each in libraries)) and not filename.startswith(f"{OURS}/")
