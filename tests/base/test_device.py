"""Devices by name: what is not there is one line, and what is on the CPU stays as it is."""

import pytest
import torch
from torch import nn

from autoprune.base import device
from autoprune.base.device import CPU, on_cpu, resolve
from autoprune.errors import UserError
from autoprune.results.settings import TrialCommand


@pytest.fixture
def sees(monkeypatch):
    """Make PyTorch see so many devices of a kind, or none."""

    def see(kind, count):
        found = torch.device(kind) if kind else None
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: found)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)

    return see


def test_auto_is_the_accelerator_that_is_there_else_the_cpu(sees):
    sees("cuda", 2)
    assert resolve("auto") == torch.device("cuda") and resolve("cuda:1") == torch.device("cuda", 1)
    assert resolve("cpu") == CPU
    sees(None, 0)
    assert resolve("auto") == resolve("cpu") == CPU


@pytest.mark.parametrize(
    ("kind", "count", "name", "said"),
    [
        (None, 0, "cuda", "there is no device cuda here: PyTorch sees the CPU only; use --device auto or cpu"),
        ("cuda", 2, "cuda:2", "PyTorch sees the CPU and cuda:0, cuda:1"),
        ("cuda", 1, "mps", "there is no device mps here"),
        (None, 0, "gpu", "PyTorch knows no device 'gpu': use auto, cpu, cuda, cuda:N, mps or xpu"),
        (None, 0, "meta", "there is no device meta here"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(sees, kind, count, name, said):
    sees(kind, count)
    with pytest.raises(UserError) as error:
        resolve(name)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_option_is_checked_and_comes_back():
    assert TrialCommand.from_words(["digits", "--device", "cuda:1"]).to_words()[-2:] == ["--device", "cuda:1"]
    assert TrialCommand("digits").device == "cpu" and "--device" not in TrialCommand("digits").to_words()
    for wrong in ("", "cuda:x", "CUDA 1", "cuda:-1"):
        with pytest.raises(UserError, match="device"):
            TrialCommand.from_words(["digits", "--device", wrong])


def test_a_search_says_so_before_anything_starts(sees, tmp_path):
    import autoprune

    sees(None, 0)
    with pytest.raises(UserError, match="there is no device cuda here"):
        autoprune.run_search("digits", 1, device="cuda", folder=tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_a_model_on_the_cpu_is_not_copied(monkeypatch):
    model = nn.Linear(2, 2)
    assert on_cpu(model) is model
    asked = []
    monkeypatch.setattr(torch.accelerator, "synchronize", asked.append)
    device.synchronise(CPU)
    device.synchronise(torch.device("cuda", 1))
    assert asked == [torch.device("cuda", 1)]
