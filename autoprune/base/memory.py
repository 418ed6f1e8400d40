"""The memory of a device: what was held there, and what is said when it is used up."""

from __future__ import annotations

import re

import torch

from autoprune.base.device import CPU

WHAT_TO_DO = (
    "lower trialConcurrency if other trials share the device, or the recipes' batch_size (accumulation keeps the "
    "examples per step), or train with --precision bf16"
)


def is_used_up(error: BaseException) -> bool:
    """Say whether an error is, or comes from, a device that ran out of memory."""
    return _fullness(error) is not None


def said(error: BaseException) -> str:
    """Return why a device ran out of memory, how much was asked for and held, and what to do, in one line."""
    text = " ".join(str(_fullness(error)).split())
    tried = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", text)
    room = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", text)
    held = sum(torch.accelerator.max_memory_allocated(index) for index in range(_counted_devices()))
    parts = [
        f"{tried[1]} more were needed" if tried else text[:200],
        f"this process held {held / 2**30:.2f} GiB" if held else "",
        f"{room[2]} of {room[1]} were free" if room else "",
    ]
    return f"the device ran out of memory: {', '.join(filter(None, parts))}; {WHAT_TO_DO}"


def forget_peak() -> None:
    """Let the most that was held on the devices be counted from now on."""
    for index in range(_counted_devices()):
        torch.accelerator.reset_peak_memory_stats(index)


def give_back() -> None:
    """Give what PyTorch keeps for later tensors, but holds none of, back to the device."""
    if _counted_devices():
        torch.accelerator.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Return how much of a device's memory nobody holds; 0 of one that does not say."""
    try:
        return torch.accelerator.get_memory_info(device)[0]
    except (RuntimeError, AttributeError):  # of an older PyTorch, the latter
        return 0


def is_counted(device: torch.device) -> bool:
    """Say whether PyTorch counts the bytes that are held on a device."""
    return device != CPU and _counted_devices() > 0


def _counted_devices() -> int:
    """Return the number of devices in use of which PyTorch counts the bytes; 0 if it counts none of this kind."""
    try:
        return torch.accelerator.device_count() if torch.accelerator.memory_stats() else 0
    except (RuntimeError, AttributeError):  # no accelerator, one whose allocator keeps no count, or an older PyTorch
        return 0


def _fullness(error: BaseException | None) -> BaseException | None:
    """Return the error of a device that is full which this one is or comes from, or None."""
    while error is not None:
        by_name = isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
        if by_name or isinstance(error, torch.OutOfMemoryError):
            return error
        error = error.__cause__
    return None
