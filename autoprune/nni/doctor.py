"""``autoprune doctor``: what this machine has of what a search needs, what is wrong with it, and how to mend that."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoprune.base.files import cache_dir, data_dir
from autoprune.base.machine import describe, versions
from autoprune.base.places import check_folder
from autoprune.base.progress import note, track
from autoprune.errors import UserError
from autoprune.results import units

LEAST_FREE = 2 * 10**9
"""Bytes that should be free: a search of a small network needs less, its datasets and exports a multiple."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: it is called.
        found: what there is.
        wrong: what is wrong with it, or empty.
        mend: how to mend that.
    """

    what: str
    found: str
    wrong: str = ""
    mend: str = ""


def examine(port: int) -> Iterator[Finding]:
    """Yield what there is, one thing after the other; a check that fails itself is a thing that is wrong."""
    checks: dict[str, Callable[[], Finding]] = {
        "versions": _versions,
        "packages": _packages,
        "machine": _machine,
        "device": _device,
        "port": lambda: _port(port),
        "bridge": _bridge,
        "manager": _manager,
        "cache": lambda: _folder("cache", cache_dir()),
        "data": lambda: _folder("data", data_dir()),
        "experiments": lambda: _folder("experiments", Path("~/nni-experiments").expanduser()),
    }
    for what, check in track(checks.items(), "look", len(checks)):
        note(str, what)
        try:
            yield check()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield Finding(what, "cannot be told", reason, "pip install --force-reinstall autoprune")


def _versions() -> Finding:
    return Finding("versions", ", ".join(f"{name} {version}" for name, version in versions().items()))


def _packages() -> Finding:
    """Compare what is installed with what AutoPrune asks for, its extras left out."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in requires("autoprune") or []]
    asked = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = []
    for each in asked:
        try:
            installed = version(each.name)
        except PackageNotFoundError:
            wrong.append(f"{each.name} is not installed")
            continue
        if not each.specifier.contains(installed, prereleases=True):
            wrong.append(f"{each.name} is {installed}, not {each.specifier}")
    return Finding("packages", f"{len(asked)} asked for", "; ".join(wrong), "pip install --upgrade autoprune")


def _machine() -> Finding:
    import psutil

    memory = f"{units.size(psutil.virtual_memory().total)} of memory"
    return Finding("machine", ", ".join([*describe().values(), memory]))


def _device() -> Finding:
    from autoprune.base.device import resolve

    device = resolve("auto")
    return Finding("device", "the CPU only" if device.type == "cpu" else f"the CPU and {device}")


def _port(port: int) -> Finding:
    from autoprune.nni.bridge import check_port

    try:
        check_port(port)
    except UserError as error:
        return Finding("port", f"{port} is taken", str(error), "`autoprune list` shows what runs; --port takes another")
    return Finding("port", f"{port} is free")


def _bridge() -> Finding:
    """Look whether plain ``nnictl`` knows the bridge, and whether the bridge's patches are in NNI's launcher."""
    from nni.experiment import launcher

    from autoprune.nni.bridge import registration

    file = registration.file()
    if not hasattr(launcher.start_experiment, "__wrapped__"):
        return Finding(
            "bridge", str(file), "NNI's launcher is not patched", "pip install --force-reinstall nni autoprune"
        )
    if not registration.is_registered():
        return Finding("bridge", str(file), "not registered: plain nnictl runs without it", "autoprune doctor --mend")
    return Finding("bridge", f"registered in {file}, NNI's launcher is patched")


def _manager() -> Finding:
    """Start Node as NNI does, with the mended manager preloaded."""
    import nni_node

    from autoprune.nni.bridge.patches import PRELOAD

    node = Path(nni_node.__path__[0], "node")
    environment = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    command = [str(node), "--require", str(PRELOAD), "--eval", "console.log(process.version)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding("manager", str(node), f"it does not start: {reason}", "pip install --force-reinstall nni")
    return Finding("manager", f"NNI's Node {done.stdout.strip()} loads AutoPrune's mends")


def _folder(what: str, folder: Path) -> Finding:
    """Look at a folder's size, whether it can be written, and how much of its disk is free."""
    sizes = {part.name: _bytes(part) for part in sorted(folder.iterdir())} if folder.is_dir() else {}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    within = f" ({', '.join(f'{name} {units.size(sizes[name])}' for name in largest)})" if largest else ""
    at = folder
    while not at.exists():
        at = at.parent
    free = shutil.disk_usage(at).free
    found = f"{folder}: {units.size(sum(sizes.values()))}{within}; {units.size(free)} free"
    try:
        check_folder(folder)
    except UserError as error:
        return Finding(what, found, str(error), "give it to yourself (chown), or name another: docs/config.md")
    if free < LEAST_FREE:
        return Finding(what, found, "the disk is nearly full", "delete old searches there, or move the folder")
    return Finding(what, found)


def _bytes(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        file.lstat().st_size for root, _, names in os.walk(path) for file in (Path(root, name) for name in names)
    )
