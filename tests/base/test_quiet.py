"""Libraries' warnings do not reach users of the command line; their own do."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from autoprune import api
from autoprune.base.quiet import quiet_libraries


def test_a_warning_is_shown_if_the_users_file_or_autoprune_gives_it(monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, category, filename, *rest: shown.append(filename))
    for _ in range(2):
        quiet_libraries()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for file in (yaml.__file__, subprocess.__file__, api.__file__, "/home/me/my_task.py"):
            warnings.showwarning("", UserWarning, file, 1)
    assert shown == [api.__file__, "/home/me/my_task.py"]


@pytest.fixture(autouse=True)
def loggers():
    """Give back what is global."""
    names = ("torch.utils._pytree", "torch.onnx", "nni")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    "words", [["nnictl", "--version"], pytest.param(["autoprune", "groups", "digits"], marks=pytest.mark.slow)]
)
def test_commands_say_nothing_but_their_own(words):
    program = Path(sys.executable).with_name(words[0])
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
