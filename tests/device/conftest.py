"""The device of these tests: one made up in ordinary memory, or with ``AUTOPRUNE_TEST_DEVICE=auto`` a real one."""

import os
import shutil

import pytest
import torch
from second_device import register
from tiny import make_task

from autoprune.prune import dense


@pytest.fixture(scope="session")
def device():
    if os.environ.get("AUTOPRUNE_TEST_DEVICE") == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None:
            pytest.skip("PyTorch sees no accelerator")
        return torch.device(found.type, 0)
    if torch.accelerator.is_available():
        pytest.skip("PyTorch sees an accelerator, beside which none can be made up: use make test-gpu")
    if not (shutil.which(os.environ.get("CXX", "c++")) and shutil.which("ninja")):
        pytest.skip("the made-up device needs a C++ compiler and ninja")
    return register()


@pytest.fixture(scope="session")
def made_up(device):
    """Whether the device computes what the CPU does, to the bit."""
    return device.type == "second"


@pytest.fixture(scope="session")
def here():
    """The tiny task, its data and its dense model on the CPU."""
    task, data, _ = make_task()
    return task, data, dense.load_or_train(task, data)


@pytest.fixture(scope="session")
def there(device):
    """The same on the device."""
    task, data, _ = make_task()
    return task, data, dense.load_or_train(task, data, device=device)
