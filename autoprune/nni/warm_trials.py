"""The server of an experiment's trials: a warm process that forks them, or one that hands them to workers."""

from __future__ import annotations

import sys
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path


def _main() -> None:
    how, address, manager, *words = sys.argv[1:]
    host, _, port = manager.rpartition(":")
    where = Path(address), (host, int(port))
    if how == "workers":
        from autoprune.engine.workers_server import serve as serve_workers

        serve_workers(*where, partial(_work, words))  # this process loads nothing: it has no device in use
    else:
        from autoprune.engine.warm_server import serve
        from autoprune.nni.trial_process import TrialRunner

        serve(*where, TrialRunner(words).run)


def _work(words: list[str], pipe: Connection) -> None:
    """Be a worker."""
    from autoprune.engine.worker import work
    from autoprune.nni.trial_process import LivingTrials

    work(pipe, LivingTrials(words))


if __name__ == "__main__":
    _main()
