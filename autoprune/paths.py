"""Where AutoPrune keeps things on this machine."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock


def cache_dir() -> Path:
    """What is made once and serves all experiments: ``$AUTOPRUNE_CACHE``, else ``~/.cache/autoprune``."""
    return Path(os.environ.get("AUTOPRUNE_CACHE", "~/.cache/autoprune")).expanduser()


def data_dir() -> Path:
    """Data sets: ``$AUTOPRUNE_DATA``, else ``data`` in the cache."""
    return Path(os.environ.get("AUTOPRUNE_DATA", cache_dir() / "data")).expanduser()


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path to write to, which then takes the place of ``file``: nobody ever sees that half-written."""
    with TemporaryDirectory(prefix=".partial-", dir=file.parent) as folder:
        draft = Path(folder, file.name)
        yield draft
        draft.replace(file)


def write_text(file: Path, text: str) -> None:
    """Write a text file that nobody ever sees half-written."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half-written."""
    with replacing(file) as draft:
        draft.write_bytes(content)


def cached(kind: str, name: str, key: Any, suffix: str, make: Callable[[Path], None]) -> Path:
    """Return the file of the cache that goes by ``key``; it is made now if it is not there.

    One process makes it, and the others that want it wait; nobody ever sees it half-written.

    Args:
        kind: the folder in the cache.
        name: how the file's name begins.
        key: all that decides its content, for JSON.
        suffix: of the file, ``.pt`` say.
        make: writes it to the path that it is called with.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    file = cache_dir() / kind / f"{name}-{digest}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            partial = file.with_suffix(".partial")
            make(partial)
            partial.replace(file)
    return file
