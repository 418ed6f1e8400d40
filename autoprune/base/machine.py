"""What this machine is, and which versions are installed on it."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("autoprune", "torch", "nni", "optuna", "onnx", "onnxruntime")
"""The packages whose versions decide a result."""


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, of the packages that decide a result, and of some more."""
    return {"Python": platform.python_version()} | {name: _version(name) for name in (*PACKAGES, *more)}


def describe() -> dict[str, str]:
    """Return this machine's processor, cores and operating system."""
    cores = f"{os.cpu_count()} cores"
    return {"Processor": f"{processor()}, {cores}", "System": f"{platform.system()} {platform.release()}"}


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
