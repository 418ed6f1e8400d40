"""Batches and samples of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from autoprune.base import memory, streams
from autoprune.base.device import CPU
from autoprune.base.tree import examples_in, map_tensors, tensors_of
from autoprune.errors import UserError
from autoprune.task.task import Data

MOST = 2**30
"""Bytes of batches that are kept in memory, at most."""


def sample_of(data: Data, most: int, seed: int = 0) -> Data:
    """Return ``most`` examples of ``data`` drawn by ``seed``, in their order, or all if it has no more.

    Where the labels are known without reading the examples (:func:`labels_of`), each class has its share of them, and
    at least one example if there are as many. Of a stream, whose length nobody knows, the first are taken.
    """
    if isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset):
        return DataLoader(
            cast(Dataset, sample_of(data.dataset, most, seed)),
            data.batch_size or 1,
            collate_fn=data.collate_fn,
            num_workers=data.num_workers,
            pin_memory=data.pin_memory,
        )
    if isinstance(data, DataLoader | IterableDataset):
        return _first(data, most)
    if length(data) <= most:
        return data
    order = torch.randperm(length(data), generator=streams.generator(seed, "sample"))
    labels = labels_of(data)
    if labels is not None:
        _, number, counts = labels[order].unique(return_inverse=True, return_counts=True)
        by_class = number.argsort(stable=True)
        rank = torch.arange(length(data)) - (counts.cumsum(0) - counts)[number[by_class]]  # of each within its class
        share = rank / counts[number[by_class]]
        order = order[by_class[share.argsort(stable=True)]]
    chosen = order[:most].sort().values
    if isinstance(data, TensorDataset):
        return TensorDataset(*(tensor[chosen] for tensor in data.tensors))
    return Subset(data, chosen.tolist())


class Kept(IterableDataset):
    """Batches that were read; copies of them come, which may be worked on in place."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return (map_tensors(Tensor.clone, batch) for batch in self.batches)


def _first(data: Data, most: int) -> Kept:
    """Return the first batches of a stream, with so many examples at least."""
    kept, found = [], 0
    for batch in batches(data, min(most, 64)):
        kept.append(batch)
        found += examples_in(batch)
        if found >= most:
            break
    return Kept(kept)


def read_once(data: Data, batch_size: int, most: int = MOST) -> Data:
    """Return a split to be read often: its batches, if they take no more than ``most`` bytes; else the split itself."""
    kept, size = [], 0
    for batch in batches(data, batch_size):
        size += sum(tensor.nbytes for tensor in tensors_of(batch))
        if size > most:
            return data
        kept.append(batch)
    return Kept(kept)


def length(data: Data) -> int:
    """Return how many examples a map-style data set has.

    Raises:
        TypeError: it has no length.
    """
    return len(cast(Sized, data))


def count(data: Data) -> int | None:
    """Return how many examples a split has; None where only reading it would tell."""
    try:
        return length(data.dataset if isinstance(data, DataLoader) else data)
    except TypeError:
        return None


def labels_of(data: Data) -> Tensor | None:
    """Return the labels of all examples, shape ``(N,)``, where they can be had without reading these; else None.

    They are the second tensor of a ``TensorDataset``, or the ``targets`` or ``labels`` that torchvision's data sets
    have; also of a ``Subset`` of such.
    """
    if isinstance(data, Subset):
        labels = labels_of(data.dataset)
        return None if labels is None else labels[torch.as_tensor(data.indices)]
    if isinstance(data, TensorDataset):
        found = data.tensors[1] if len(data.tensors) == 2 else None
    else:
        found = getattr(data, "targets", getattr(data, "labels", None))
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return None
    whole = not labels.is_floating_point() and not labels.is_complex()
    return labels if labels.shape == (length(data),) and whole else None


def endless_batches(data: Data, batch_size: int, seed: int, device: torch.device = CPU) -> Iterator[Any]:
    """Yield shuffled batches for ever, a new order each epoch, the same for the same seed.

    Args:
        device: where they are needed, see :func:`batches`.

    Raises:
        UserError: there are none.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        found = False
        for batch in batches(data, batch_size, generator, device):
            found = True
            yield batch
        if not found:
            raise UserError("the training split gives no batches: it is empty, or an iterator that has ended")


def batches(
    data: Data, batch_size: int, shuffle: torch.Generator | None = None, device: torch.device = CPU
) -> Iterator[Any]:
    """Yield one epoch of batches; a ``TensorDataset`` is indexed whole, which is far faster than item by item.

    Shuffled batches leave out an incomplete last one (batch norm cannot train on a single example). A ``DataLoader``
    keeps its own size, order, workers and collation; its random numbers, and those of augmentations, come from
    ``shuffle``, and the same state of it gives the same batches.

    Args:
        device: where they are needed. A ``TensorDataset`` for which there is room is kept there, and its batches are
            taken there; all others are still to be moved.
    """
    if isinstance(data, Kept):
        yield from data
        return
    if isinstance(data, DataLoader | IterableDataset):
        loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
        yield from _seeded_batches(loader, shuffle)
        return
    drop_last = shuffle is not None and length(data) > batch_size
    if type(data) is not TensorDataset:
        generator = shuffle or torch.Generator()  # without one of its own it draws from the global generator
        loader = DataLoader(data, batch_size, shuffle=shuffle is not None, generator=generator, drop_last=drop_last)
        yield from _seeded_batches(loader, shuffle)
        return
    order = torch.arange(len(data)) if shuffle is None else torch.randperm(len(data), generator=shuffle)
    tensors = _kept_on(device, data)
    for part in order.to(tensors[0].device).split(batch_size):
        if not drop_last or len(part) == batch_size:
            yield tuple(tensor[part] for tensor in tensors)


SHARE = 0.1
"""The most of a device's free memory that one split takes when it is kept there."""

_kept: WeakKeyDictionary[TensorDataset, tuple[Any, tuple[Tensor, ...]]] = WeakKeyDictionary()
"""Data set -> from which state of its tensors it was moved to which device, and its tensors there."""


def _kept_on(device: torch.device, data: TensorDataset) -> tuple[Tensor, ...]:
    """Return the tensors of a data set, on a device if there is room: moved once, as long as they do not change."""
    if device.type == "cpu":
        return data.tensors
    state = device, [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in data.tensors]
    known, tensors = _kept.pop(data, (None, ()))
    if known != state:
        tensors = ()  # let go of first
        if sum(tensor.nbytes for tensor in data.tensors) > SHARE * memory.free_bytes(device):
            return data.tensors
        tensors = tuple(tensor.to(device) for tensor in data.tensors)
    _kept[data] = state, tensors
    return tensors


def _seeded_batches(loader: DataLoader, shuffle: torch.Generator | None) -> Iterator[Any]:
    """Yield a loader's batches while the generators that its augmentations draw from follow ``shuffle``.

    The random numbers of whoever takes the batches go on as if none were drawn in between.
    """
    seed = 0 if shuffle is None else int(torch.randint(2**31, (), generator=shuffle))
    own = None if loader.generator is None or loader.generator is shuffle else loader.generator.get_state()
    chance = streams.State.of(seed)
    try:
        if own is not None:
            loader.generator.manual_seed(seed)
        with chance.current():
            iterator = iter(loader)
        while True:
            with chance.current():
                batch = next(iterator, _END)
            if batch is _END:
                return
            yield batch
    finally:
        if own is not None:
            loader.generator.set_state(own)


_END = object()
