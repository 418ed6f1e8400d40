"""Trials in the process that NNI starts for each of them, which loads everything by itself."""

from __future__ import annotations


def run(words: list[str], server: str) -> None:
    """Leave the trial to the process that asks."""
