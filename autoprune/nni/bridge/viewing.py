"""Two faults of NNI's launcher that meet whoever looks at a search: addresses that do not answer, and a start anew."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from nni.experiment.config import ExperimentConfig
from nni.tools.nnictl.config_utils import Experiments

ADDRESSES = "Web portal URLs: "
"""How NNI's message begins that lists an address of each network interface, also where the manager does not listen."""


class OnlyAnswering(logging.Filter):
    """Leave in NNI's message only the addresses that answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: a message is changed, not kept back."""
        text = str(record.msg)
        if text.startswith(ADDRESSES):
            found = dict.fromkeys(re.findall(r"http://\S+", text))
            record.msg = ADDRESSES + "${CYAN}" + " ".join(each for each in found if _answers(each))
        return True


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def as_it_was(experiment_id: str, config: ExperimentConfig) -> Iterator[None]:
    """Leave in NNI's registry when an experiment was started, and which is the latest: looking at one starts none."""
    before = Experiments().get_all_experiments().get(experiment_id, {})
    link = Path(config.experiment_working_directory, "_latest")
    latest = link.readlink() if link.is_symlink() else None
    yield
    for name in ("startTime", "endTime", "tag"):
        if name in before:
            Experiments().update_experiment(experiment_id, name, before[name])
    if latest is not None:
        link.unlink(missing_ok=True)
        link.symlink_to(latest, target_is_directory=True)
