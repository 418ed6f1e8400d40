"""Where networks are trained and run."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import cache
from typing import Any

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


def milliseconds(run: Callable[[], Any], device: torch.device) -> float:
    """Return how long a device takes for what ``run`` asks of it: by its events, or by the clock until it has done all.

    Events are noted by the device itself, when it comes to them: how long this process waits for it does not count.
    """
    if device.type == "cpu" or not has_events(device):
        begun = time.perf_counter()
        run()
        synchronise(device)
        return (time.perf_counter() - begun) * 1000
    with torch.accelerator.device_index(device.index):
        first, last = (torch.Event(device, enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last)


@cache
def has_events(device: torch.device) -> bool:
    """Say whether a device notes by itself when it comes to a point of its work."""
    try:
        with torch.accelerator.device_index(device.index):
            events = [torch.Event(device, enable_timing=True) for _ in range(2)]
            for event in events:
                event.record()
            events[1].synchronize()
            return events[0].elapsed_time(events[1]) >= 0
    except (RuntimeError, TypeError):  # not of this backend, or not of this version of PyTorch
        return False


def name_of(device: torch.device) -> str:
    """Return what a device is called, by its maker if PyTorch knows."""
    if device.type == "cpu":
        return "the CPU"
    called = getattr(torch.get_device_module(device), "get_device_name", None)
    return f"{device} ({called(device)})" if called else str(device)
