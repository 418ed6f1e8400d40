"""Randomness: each use draws from a stream of its own, and PyTorch's global generator is given back as it was."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, *purpose: str) -> torch.Generator:
    """Return a generator of its own for one use of randomness, the same for the same seed and purpose.

    Two uses that seed their generators with one number draw the same numbers: scores "at random" would then be the
    initial weights over again.

    Args:
        purpose: what is drawn, and for whom: a criterion and a group, say.
    """
    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generator of the CPU, for what knows no other (initialisation, dropout), for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def fixed(seed: int = 0) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch (CPU), and give them back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
