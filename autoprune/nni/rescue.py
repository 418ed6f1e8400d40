"""NNI's registry of experiments, put together again from their folders where it is damaged."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil


def rescued(registry: Path) -> dict[str, dict[str, Any]]:
    """Return an entry for each experiment beside ``registry``, or in a folder that the rest of it still names.

    Managers that run are found among this machine's processes.
    """
    rest = registry.read_text(errors="replace") if registry.is_file() else ""
    named = {Path(json.loads(found)) for found in re.findall(r'"logDir": *("(?:[^"\\\\]|\\\\.)*")', rest)}
    managers = _managers()
    entries: dict[str, dict[str, Any]] = {}
    for folder in sorted({registry.parent, *named}):
        # NNI's _latest is a link to one of them
        for database in sorted(folder.glob("[!_]*/db/nni.sqlite")):
            key = database.parents[1].name
            entries[key] = _entry(key, database, folder) | managers.get(key, {})
    return entries


def _entry(key: str, database: Path, folder: Path) -> dict[str, Any]:
    entry = {"id": key, "logDir": str(folder), "status": "STOPPED", "startTime": int(database.stat().st_mtime * 1000)}
    query = "select startTime, params from ExperimentProfile order by revision desc limit 1"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=10)) as db:
            start, params = db.execute(query).fetchone()
            return entry | {"startTime": int(start), "experimentName": json.loads(params).get("experimentName")}
    except (sqlite3.Error, ValueError, TypeError, AttributeError):
        return entry  # damaged too: who reads it says so


def _managers() -> dict[str, dict[str, Any]]:
    """Return process id and port of each manager that runs, by its experiment's id."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("main.js") for word in words) and "--experiment-id" in words and "--port" in words:
            key, port = (words[words.index(name) + 1] for name in ("--experiment-id", "--port"))
            found[key] = {"pid": process.pid, "port": int(port), "status": "RUNNING"}
    return found
