"""The soak of `make soak`, with three kills."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "experiments" / "soak.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_kills_lose_nothing(port):
    command = [sys.executable, SOAK, "--kills", "3", "--minutes", "10", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("finished trials lost", "run twice", "stuck processes", "ports left", "searches that did not end"):
        assert f"{line:<26} 0\n" in done.stdout + "\n"
