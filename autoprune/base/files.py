"""Where AutoPrune keeps things on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


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
