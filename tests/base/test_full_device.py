"""A full device is told from other trouble, however the error comes up, and what it lacked is said in one line."""

import pytest
import torch

from autoprune.base import memory
from autoprune.errors import TrialFailure

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of which 5.00 MiB is "
    "free. Process 1 has 70.00 GiB memory in use."
)


def raised(outer: Exception, cause: Exception) -> Exception:
    try:
        raise outer from cause
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(CUDA),
        RuntimeError(CUDA),
        raised(TrialFailure("the task's fit failed"), torch.OutOfMemoryError(CUDA)),
        raised(torch.OutOfMemoryError(CUDA), ValueError("a cause of its own")),
    ],
)
def test_what_a_full_device_lacked_is_said(error):
    assert memory.is_used_up(error)
    said = memory.said(error)
    assert "20.00 MiB more were needed" in said and "5.00 MiB of 79.10 GiB were free" in said
    assert "lower trialConcurrency" in said and "\n" not in said


def test_other_words_are_passed_on():
    said = memory.said(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))
    assert "MPS backend out of memory (MPS allocated: 5 GB)" in said


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), TrialFailure("the loss became nan"), MemoryError()])
def test_other_trouble_is_not(error):
    assert not memory.is_used_up(error)
