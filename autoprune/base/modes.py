"""How a network runs for a while: its training mode, layer by layer, and its recurrent layers without fused kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[nn.Module]:
    """Let the modes of the layers of ``model`` be changed for a while; afterwards each is in the mode it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        yield model
    finally:
        for layer, mode in modes:
            layer.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put ``model`` into evaluation mode for a while; afterwards each of its layers is in the mode it was in."""
    with modes_kept(model):
        yield model.eval()


def train_but_batch_norms(model: nn.Module) -> None:
    """Put a model into training mode in place, but for its batch norms, whose statistics are to stay as they are."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


@contextmanager
def recurrence_unfused(model: nn.Module) -> Iterator[None]:
    """Let recurrent layers of ``model`` run by matrix products, which can be followed and counted, step by step."""
    backends: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    before = [backend.enabled for backend in backends]
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in model.modules())
    try:
        for backend in backends if recurrent else ():
            backend.enabled = False
        yield
    finally:
        for backend, enabled in zip(backends if recurrent else (), before, strict=False):
            backend.enabled = enabled
