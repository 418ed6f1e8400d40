"""Which machine and which versions made a report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from autoprune.base.machine import processor

PACKAGES = ("autoprune", "torch", "nni", "torch-pruning", "optuna")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    return {"Python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def describe() -> dict[str, str]:
    """Return this machine's processor, cores and operating system."""
    cores = f"{os.cpu_count()} cores"
    return {"Processor": f"{processor()}, {cores}", "System": f"{platform.system()} {platform.release()}"}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
