"""What is made once and found again by all that decides its content (:mod:`autoprune.base.fingerprint` says how)."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from autoprune.base.files import cache_dir, replacing
from autoprune.base.fingerprint import fingerprint
from autoprune.base.version import __version__


def key_of(**parts: Any) -> str:
    """Return 12 hex digits that name what these parts decide, with these versions of Python, PyTorch and AutoPrune.

    A part that is None, False or empty is left out: a new part with such a default renames nothing.
    """
    defaults = [
        name
        for name, part in parts.items()
        if part is None or part is False or (isinstance(part, str | tuple) and not part)
    ]
    counted = {name: parts[name] for name in sorted(parts.keys() - defaults)}
    versions = [platform.python_version_tuple()[:2], torch.__version__, __version__]
    return fingerprint([versions, counted])[:12]


def path(kind: str, name: str, key: str, suffix: str) -> Path:
    """Return where the cache has, or would have, a file; see :func:`cached`."""
    return cache_dir() / kind / f"{name}-{key}{suffix}"


def cached(kind: str, name: str, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """Return the file of the cache that goes by ``key``; it is made now if it is not there.

    One process makes it, and the others that want it wait; nobody ever sees it half-written.

    Args:
        kind: the folder in the cache.
        name: how the file's name begins.
        key: of :func:`key_of`.
        suffix: of the file, ``.pt`` say.
        make: writes it to the path that it is called with.
    """
    file = path(kind, name, key, suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            with replacing(file) as draft:
                make(draft)
    return file
