"""A Ctrl-C is heard, wherever it arrives. Each test interrupts a process of its own, not the one of the suite."""

import subprocess
import sys

import pytest

BEGIN = """
import os, signal, time
from autoprune.nni.signals import interrupts_noticed
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background ignores it

class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
"""

IN_A_DESTRUCTOR = """
with interrupts_noticed() as check:
    check()
    Destroyed()  # Python drops what is raised there
    try:
        check()
    except KeyboardInterrupt:
        print("heard")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""

ELSEWHERE = """
try:
    with interrupts_noticed():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
except KeyboardInterrupt:
    print("heard")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""

IGNORED = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with interrupts_noticed() as check:
    os.kill(os.getpid(), signal.SIGINT)
    check()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("left alone")
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [(IN_A_DESTRUCTOR, "heard"), (ELSEWHERE, "heard"), (IGNORED, "left alone")],
    ids=["in a destructor, at the next check", "elsewhere, at once", "where it is ignored"],
)
def test_a_ctrl_c_is_heard(script, said):
    done = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, f"{said}\n"), done.stderr
