"""Gradients of the loss on a few training batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from autoprune.prune.criteria.base import Request


@contextmanager
def accumulate_gradients(request: Request) -> Iterator[None]:
    """Leave the summed gradients in the model's parameters while the context lasts; the model does not change."""
    task = request.need().task
    request.model.eval().zero_grad()
    for batch in request.batches():
        task.loss_of(request.model, batch).backward()
    try:
        yield
    finally:
        request.model.zero_grad()


def gradient_of(weight: Tensor) -> Tensor:
    """Return what :func:`accumulate_gradients` has accumulated of a weight."""
    assert weight.grad is not None
    return weight.grad
