"""Where AutoPrune keeps things on this machine."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """What is made once and serves all experiments: ``$AUTOPRUNE_CACHE``, else ``~/.cache/autoprune``."""
    return Path(os.environ.get("AUTOPRUNE_CACHE", "~/.cache/autoprune")).expanduser()


def data_dir() -> Path:
    """Data sets: ``$AUTOPRUNE_DATA``, else ``data`` in the cache."""
    return Path(os.environ.get("AUTOPRUNE_DATA", cache_dir() / "data")).expanduser()
