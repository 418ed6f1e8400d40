"""Batches and samples of a data set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from autoprune.base import streams


def sample_of(data: Dataset, most: int, seed: int = 0) -> Dataset:
    """Return ``most`` examples of ``data`` drawn by ``seed``, in their order, or all if it has no more.

    Where the labels are known without reading the examples (:func:`labels_of`), each class has its share of them, and
    at least one example if there are as many.
    """
    if len(data) <= most:
        return data
    order = torch.randperm(len(data), generator=streams.generator(seed, "sample"))
    labels = labels_of(data)
    if labels is not None:
        _, number, counts = labels[order].unique(return_inverse=True, return_counts=True)
        by_class = number.argsort(stable=True)
        rank = torch.arange(len(data)) - (counts.cumsum(0) - counts)[number[by_class]]  # of each within its class
        share = rank / counts[number[by_class]]
        order = order[by_class[share.argsort(stable=True)]]
    chosen = order[:most].sort().values
    if isinstance(data, TensorDataset):
        return TensorDataset(*(tensor[chosen] for tensor in data.tensors))
    return Subset(data, chosen.tolist())


def labels_of(data: Dataset) -> Tensor | None:
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
    return labels if labels.shape == (len(data),) and whole else None


def endless_batches(data: Dataset, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches for ever, a new order each epoch, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from batches(data, batch_size, generator)


def batches(data: Dataset, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of batches; a ``TensorDataset`` is indexed whole, which is far faster than item by item.

    Shuffled batches leave out an incomplete last one (batch norm cannot train on a single example).
    """
    drop_last = shuffle is not None and len(data) > batch_size
    if not isinstance(data, TensorDataset):
        generator = shuffle or torch.Generator()  # without one of its own it draws from the global generator
        yield from DataLoader(data, batch_size, shuffle=shuffle is not None, generator=generator, drop_last=drop_last)
        return
    order = torch.arange(len(data)) if shuffle is None else torch.randperm(len(data), generator=shuffle)
    for part in order.split(batch_size):
        if not drop_last or len(part) == batch_size:
            yield tuple(tensor[part] for tensor in data.tensors)
