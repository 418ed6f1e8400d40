"""Where Optuna's studies are kept: a journal file, or a database that several machines can open."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from sqlalchemy.engine import make_url

from autoprune.base.files import write_bytes
from autoprune.base.places import check_file
from autoprune.errors import UserError, short

Direction = Literal["minimize", "maximize"]

_log = logging.getLogger(__name__)


def check_storage(where: str | None) -> None:
    """Check what names a storage, without opening it.

    Raises:
        UserError: it is an URL that SQLAlchemy cannot read, of a database whose driver is not installed, or a file that
            cannot be written.
    """
    if where is None:
        return
    if not isinstance(where, str) or not where:
        raise UserError(f"storage must be a file or an URL such as sqlite:///study.db, not {short(where)}")
    if "://" not in where:
        check_file(Path(where))
        return
    try:
        url = make_url(where)
        url.get_dialect().import_dbapi()
    except ImportError as error:
        raise UserError(f"storage {_hidden(where)}: its driver is missing: pip install {error.name}") from None
    except Exception as error:
        raise UserError(f"storage {_hidden(where)}: {_line(error)}") from None
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        check_file(Path(url.database))


def open_storage(where: str | None) -> BaseStorage:
    """Open a storage, and make it if it is not there.

    Args:
        where: a journal file; an URL with ``://``, which SQLAlchemy reads. If None, ``optuna.journal`` in the
            experiment's ``checkpoint`` folder, or memory outside of NNI.

    Raises:
        UserError: it cannot be opened.
    """
    check_storage(where)
    try:
        if where is not None and "://" in where:
            waiting = {"connect_args": {"timeout": 60}} if where.startswith("sqlite") else {"pool_pre_ping": True}
            return RDBStorage(where, engine_kwargs=waiting)
        checkpoints = os.environ.get("NNI_CHECKPOINT_DIRECTORY")
        if where is not None:
            file = Path(where)
        elif checkpoints is not None:
            file = Path(checkpoints, "optuna.journal")
        else:
            return InMemoryStorage()
        file.parent.mkdir(parents=True, exist_ok=True)
        return _open_journal(file)
    except Exception as error:
        raise UserError(f"storage {_hidden(str(where))} cannot be opened: {_line(error)}") from None


def _open_journal(file: Path) -> JournalStorage:
    try:
        return JournalStorage(_Journal(file))
    except OSError:
        raise
    except Exception as error:
        # Each line is whole, but they do not follow from each other: NNI's results are the better memory.
        _log.warning("%s is damaged (%s): its search goes on from NNI's results", file, _line(error))
        file.replace(set_aside(file))
        return JournalStorage(_Journal(file))


def open_study(
    storage: BaseStorage, name: str, objectives: Sequence[str], directions: Sequence[Direction]
) -> optuna.Study:
    """Open a study, and make it if it is not there.

    Raises:
        UserError: there is one of that name with other objectives.
    """
    study = optuna.create_study(storage=storage, study_name=name, directions=list(directions), load_if_exists=True)
    check_study(study, objectives, {})
    if study.metric_names is None:
        study.set_metric_names(list(objectives))
    return study


def find_study(where: str, name: str) -> optuna.Study | None:
    """Return a study that a storage has already, or None. Nothing is made.

    Raises:
        UserError: the storage cannot be opened.
    """
    file = where if "://" not in where else make_url(where).database if where.startswith("sqlite") else None
    if file is not None and not Path(file).is_file():
        return None
    storage = open_storage(where)
    known = name in optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage) if known else None


def check_study(study: optuna.Study, objectives: Sequence[str], space: Mapping[str, BaseDistribution]) -> None:
    """Check that a study, which may have trials already, goes on with these objectives and this search space.

    Raises:
        UserError: it is a study of others.
    """
    known = study.metric_names or list(objectives)
    if known != list(objectives):
        others = ", ".join(known)
        raise UserError(
            f"the storage has a study {study.study_name!r} of the objectives {others}: name another `study`"
        )
    for trial in study.get_trials(deepcopy=False)[:1]:
        for name, now in space.items():
            try:
                check_distribution_compatibility(trial.distributions.get(name, now), now)
            except ValueError:
                raise UserError(
                    f"the storage has a study of another search space ({name}): name another `study`"
                ) from None


class _Journal(BaseJournalBackend):
    """A journal file as Optuna's own, locked by the kernel and written without an fsync for each parameter of a trial.

    Optuna's own lock is a file that a killed process leaves behind, for half a minute; NNI gives a tuner ten seconds to
    start. What a killed process has written stays; after a power failure the last trials may have to be imported again.

    What follows the last whole line of a damaged file is set aside when the file is opened. A file that is cut or
    deleted while it is in use is written again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = FileLock(f"{file}.flock")
        self._lines: list[bytes] = []
        self._size = 0
        with self._lock:
            content = file.read_bytes() if file.exists() else b""
            whole = _whole_lines(content)
            if len(whole) < len(content):
                _log.warning("%s is damaged: its search goes on from its %d whole bytes", file, len(whole))
                write_bytes(set_aside(file), content)
                write_bytes(file, whole)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        with self._lock:
            self._catch_up()
        yield from (json.loads(line) for line in self._lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._lock:
            self._catch_up()
            with self._file.open("ab") as out:
                out.truncate(self._size)  # of what another process was killed over
                out.write(lines.encode())

    def _catch_up(self) -> None:
        """Take in what was written since the last time, here or by another process."""
        size = self._file.stat().st_size if self._file.exists() else 0
        if size < self._size:
            write_bytes(self._file, b"".join(self._lines))
        elif size > self._size:
            with self._file.open("rb") as file:
                file.seek(self._size)
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._lines += new.splitlines(keepends=True)
            self._size += len(new)


def set_aside(file: Path) -> Path:
    """Return where a damaged file's content is kept."""
    return file.with_name(f"{file.name}.damaged")


def _whole_lines(content: bytes) -> bytes:
    """Return the entries of a journal up to the first that is broken."""
    size = 0
    for line in content.splitlines(keepends=True):
        try:
            whole = line.endswith(b"\n") and isinstance(json.loads(line)["op_code"], int)
        except (ValueError, TypeError, KeyError):
            whole = False
        if not whole:
            break
        size += len(line)
    return content[:size]


def _hidden(url: str) -> str:
    """Return an URL without its password."""
    scheme, mark, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{account.partition(':')[0]}{at}{place}" if mark else url


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
