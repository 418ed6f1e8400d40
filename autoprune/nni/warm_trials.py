"""The warm process of an experiment: it loads what all trials have in common, and forks a child for each of them."""

from __future__ import annotations

import sys
from pathlib import Path

from autoprune.engine.warm_server import serve
from autoprune.nni import trial_process


def _main() -> None:
    address, manager, *words = sys.argv[1:]
    trial = trial_process.TrialRunner(words)
    host, _, port = manager.rpartition(":")
    serve(Path(address), (host, int(port)), trial.run)


if __name__ == "__main__":
    _main()
