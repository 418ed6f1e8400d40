"""Where networks are trained and run."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autoprune.base.tree import device_of
from autoprune.errors import UserError

CPU = torch.device("cpu")


def resolve(name: str) -> torch.device:
    """Return the device called ``name``: ``cpu``, an accelerator's as PyTorch has it, or ``auto``.

    ``auto`` is the accelerator that PyTorch sees, and the CPU where it sees none. Nothing is started on the device.

    Raises:
        UserError: it is not there.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return found or CPU
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"PyTorch knows no device {name!r}: use auto, cpu, cuda, cuda:N, mps or xpu") from None
    if device == CPU:
        return CPU
    count = torch.accelerator.device_count() if found is not None else 0
    if found is None or device.type != found.type or (device.index or 0) >= count:
        raise UserError(f"there is no device {name} here: PyTorch sees {_seen(found, count)}; use --device auto or cpu")
    return device


def _seen(found: torch.device | None, count: int) -> str:
    if found is None:
        return "the CPU only"
    return f"the CPU and {', '.join(f'{found.type}:{number}' for number in range(count))}"


def on_cpu(model: nn.Module) -> nn.Module:
    """Return ``model`` if it lies on the CPU, else a copy of it there."""
    return model if device_of(model) == CPU else copy.deepcopy(model).cpu()


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given; the CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
