"""A Ctrl-C is heard, wherever it arrives."""

import os
import signal
import time

import pytest

from autoprune.nni.signals import interrupts_noticed


@pytest.fixture(autouse=True)
def heard():
    """A suite that runs in the background may ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_ctrl_c_that_arrives_in_a_destructor_is_raised_at_the_next_check():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_noticed() as check:
        check()
        Destroyed()  # Python drops what is raised there
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_one_that_arrives_elsewhere_is_raised_at_once():
    with interrupts_noticed(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_where_it_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_noticed() as check:
            os.kill(os.getpid(), signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, before)
