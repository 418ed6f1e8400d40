"""Randomness: each use draws from a stream of its own, and PyTorch's global generator is given back as it was."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autoprune.base.tree import device_of


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
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed PyTorch's global generators for a while, for what knows no other (initialisation, dropout).

    Args:
        device: whose generator is seeded beside that of the CPU.
    """
    with torch.random.fork_rng(devices=[]), _seeded_on(torch.device(device), seed):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _seeded_on(device: torch.device, seed: int) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    module = torch.get_device_module(device)
    where = () if device.type == "mps" else (device,)  # of which there is one
    before = module.get_rng_state(*where)
    getattr(module, "manual_seed_all", module.manual_seed)(seed)
    try:
        yield
    finally:
        module.set_rng_state(before, *where)


def by_its_seed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function with arguments ``model`` and ``seed`` draw its random numbers by that seed (:func:`seeded`)."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def drawing(*positional: Any, **named: Any) -> Any:
        given = signature.bind(*positional, **named)
        given.apply_defaults()
        with seeded(given.arguments["seed"], device_of(given.arguments["model"])):
            return function(*positional, **named)

    return drawing


@contextmanager
def fixed(seed: int = 0) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch (CPU), and give them back as they were."""
    with State.of(seed).current():
        yield


@dataclass
class State:
    """The state of the global generators of Python, NumPy and PyTorch (CPU) for one use, which comes back to it."""

    python: Any
    numpy: Any
    torch: torch.Tensor

    @classmethod
    def of(cls, seed: int) -> State:
        """Return the state right after seeding all three."""
        return cls(
            random.Random(seed).getstate(),
            np.random.RandomState(seed % 2**32).get_state(),
            torch.Generator().manual_seed(seed).get_state(),
        )

    @classmethod
    def now(cls) -> State:
        """Return the present state."""
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state())

    def restore(self) -> None:
        """Set the three generators."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let the generators go on from this state for a while, and keep where they come to; then give them back."""
        before = State.now()
        self.restore()
        try:
            yield
        finally:
            after = State.now()
            self.python, self.numpy, self.torch = after.python, after.numpy, after.torch
            before.restore()
