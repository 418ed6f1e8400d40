"""What is made once and found again by all that decides its content (:mod:`autoprune.base.fingerprint` says how)."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from torch import nn
from torch.utils._pytree import tree_map

import autoprune
from autoprune.base.files import cache_dir, replacing
from autoprune.base.fingerprint import fingerprint, fingerprint_data

if TYPE_CHECKING:
    from autoprune.task.task import Splits, Task


def key_of(**parts: Any) -> str:
    """Return 12 hex digits that name what these parts decide, with these versions of Python, PyTorch and AutoPrune.

    A part that is None, False or empty is left out: a new part with such a default renames nothing.
    """
    unsaid = [
        name
        for name, part in parts.items()
        if part is None or part is False or (isinstance(part, str | tuple) and not part)
    ]
    told = {name: parts[name] for name in sorted(parts.keys() - unsaid)}
    versions = [platform.python_version_tuple()[:2], torch.__version__, autoprune.__version__]
    return fingerprint([versions, told])[:12]


def training_key(task: Task, data: Splits, model: nn.Module, seed: int, checkpoint: bool) -> str:
    """Return the key of a task's trained dense weights and what is measured of them.

    Args:
        model: the network before the training: its weights, its code and its settings count.
        checkpoint: whether its weights are trained already.
    """
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    owners = {name: first[id(parameter)] for name, parameter in model.named_parameters(remove_duplicate=False)}
    return key_of(
        model=model,
        weights=model.state_dict(),
        tied=tuple((name, owner) for name, owner in owners.items() if name != owner),
        loss=task.loss,
        recipe=task.training,
        seed=seed,
        example=tree_map(_kind, task.example_input),
        train=fingerprint_data(data.train),
        validation=fingerprint_data(data.validation),
        checkpoint=checkpoint,
    )


def cached(kind: str, name: str, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """Return the file of the cache that goes by ``key``; it is made now if it is not there.

    One process makes it, and the others that want it wait; nobody ever sees it half-written.

    Args:
        kind: the folder in the cache.
        name: how the file's name begins.
        key: of :func:`key_of`.
        suffix: of the file, ``.pt`` say.
        make: writes it to the path that it is called with.
    """
    file = cache_dir() / kind / f"{name}-{key}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            with replacing(file) as draft:
                make(draft)
    return file


def _kind(leaf: Any) -> Any:
    """Return a tensor's shape and type: its values may be random."""
    return (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
