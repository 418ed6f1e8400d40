"""Whether something can be written, found out before the work whose result it is."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from autoprune.errors import UserError


def check_file(file: Path) -> None:
    """Check that a file can be written, its folders made if need be. Nothing is left behind.

    Raises:
        UserError: it cannot.
    """
    _check(file, is_folder=False)


def check_folder(folder: Path) -> None:
    """Check that files can be written to a folder, which is made if need be. Nothing is left behind.

    Raises:
        UserError: they cannot.
    """
    _check(folder, is_folder=True)


def _check(place: Path, is_folder: bool) -> None:
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            place.lstat()  # says what exists() keeps to itself: a name that is too long, or has a NUL in it
        if place.exists() and place.is_dir() != is_folder:
            raise UserError(f"{place}: is a {'file: name a folder' if not place.is_dir() else 'folder: name a file'}")
        there = place if is_folder else place.parent
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            raise UserError(f"{place}: cannot be written: {there} is a file")
        with tempfile.TemporaryFile(dir=there):  # asks the file system itself: modes do not tell all
            pass
        if place.is_file():
            place.open("ab").close()
    except OSError as error:
        raise UserError(f"{place}: cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{str(place)!r}: cannot be written: {error}") from None
