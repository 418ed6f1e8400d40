"""The memory that a network needs to run."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from autoprune.base.device import synchronise
from autoprune.base.memory import is_counted
from autoprune.base.modes import evaluating
from autoprune.base.tree import beside, call, device_of, repeated, tensors_of


@torch.no_grad()
def memory(model: nn.Module, example_input: Any, batch_size: int = 1) -> int:
    """Return the bytes that a forward pass needs at its peak: weights, inputs, and the most that the pass adds.

    On a device what the pass adds is what PyTorch's allocator counts, the kernels' working space included; a pass
    before has made what stays. On the CPU, which has no such count, it is the tensors that live at one time: what a
    kernel takes for itself does not show there.

    Args:
        example_input: one example, repeated to the batch size.
    """
    device, inputs = device_of(model), repeated(beside(model, example_input), batch_size)
    held = _bytes([*model.parameters(), *model.buffers(), *tensors_of(inputs)])
    with evaluating(model):
        if not is_counted(device):
            with _Living() as living:
                call(model, inputs)
            return held + living.most
        call(model, inputs)
        synchronise(device)
        before = torch.accelerator.memory_allocated(device)
        torch.accelerator.reset_peak_memory_stats(device)
        call(model, inputs)
        synchronise(device)
        return held + torch.accelerator.max_memory_allocated(device) - before


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes in which tensors lie; what they share counts once."""
    storages = {storage.data_ptr(): storage.nbytes() for storage in (each.untyped_storage() for each in tensors)}
    return sum(storages.values())


class _Living(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as they live.

    Attributes:
        most: of them at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = self._now = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._known.update(each.untyped_storage() for each in tensors_of([args, kwargs or {}]))  # were there before
        outputs = func(*args, **(kwargs or {}))
        for storage in (each.untyped_storage() for each in tensors_of(outputs)):
            if storage not in self._known:
                self._known.add(storage)
                self._now += storage.nbytes()
                self.most = max(self.most, self._now)
                weakref.finalize(storage, self._free, storage.nbytes())
        return outputs

    def _free(self, count: int) -> None:
        self._now -= count
