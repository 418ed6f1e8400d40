"""Where AutoPrune keeps things on this machine."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


LARGEST = 32 * 1024 * 1024
"""Bytes of what is read whole."""


def cache_dir() -> Path:
    """What is made once and serves all experiments: ``$AUTOPRUNE_CACHE``, else ``~/.cache/autoprune``."""
    return Path(os.environ.get("AUTOPRUNE_CACHE", "~/.cache/autoprune")).expanduser()


def data_dir() -> Path:
    """Data sets: ``$AUTOPRUNE_DATA``, else ``data`` in the cache."""
    return Path(os.environ.get("AUTOPRUNE_DATA", cache_dir() / "data")).expanduser()


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write to, which then takes the place of ``file``: nobody ever sees that half-written.

    What else was written into its folder, such as weights that go with it, lies beside ``file`` then.
    """
    with TemporaryDirectory(prefix=".partial-", dir=file.parent) as folder:
        draft = Path(folder, file.name)
        yield draft
        for each in Path(folder).iterdir():
            if each != draft:
                each.replace(file.with_name(each.name))
        if draft.is_dir() and file.is_dir():
            rmtree(file)  # a folder takes no other's place
        draft.replace(file)


def write_text(file: Path, text: str) -> None:
    """Write a text file that nobody ever sees half-written."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half-written."""
    with replacing(file) as draft:
        draft.write_bytes(content)


def read_regular(file: Path) -> bytes:
    """Return what is in a file that anybody may have put there: no link is followed and no pipe waited for.

    Raises:
        OSError: there is none, or it is no regular file, or larger than :data:`LARGEST`.
    """
    with open(file, "rb", opener=_opener) as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise OSError(f"{file} is no regular file, or too large")
        return opened.read()


def _opener(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_object(file: Path) -> tuple[dict[str, Any], str | None]:
    """Return the JSON object in a file, and what is damaged about it; both are empty if there is no such file."""
    try:
        content = json.loads(read_regular(file).decode())
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{file.name} cannot be read: {' '.join(str(error).split())}"
    return (content, None) if isinstance(content, dict) else ({}, f"{file.name} holds no object of JSON")


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file that nobody ever sees half-written."""
    write_text(file, json.dumps(content, indent=1))
