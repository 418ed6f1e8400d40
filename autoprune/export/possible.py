"""Which files a task's networks can have, found out before there is one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

from torch import nn

from autoprune import export
from autoprune.task.task import Task


def possible(task: Task, model: nn.Module) -> tuple[tuple[str, ...], list[str]]:
    """Return the usual formats that can hold a task's networks, as far as one shows, and of the others why they cannot.

    Args:
        model: one of them, which may be untrained.
    """
    usual = export.usual()
    refused = _apart(task, model, usual)
    notes = []
    for why in dict.fromkeys(refused.values()):
        names = ", ".join(name for name, reason in refused.items() if reason == why)
        notes.append(f"at the end there will be no file of the format {names}: {why}")
    return tuple(name for name in usual if name not in refused), notes


def _apart(task: Task, model: nn.Module, formats: Sequence[str]) -> dict[str, str]:
    """Return what :func:`autoprune.export.refused` does, from a process of its own; nothing if that dies.

    After ``torch.export`` no process that is forked can train: PyTorch's autograd refuses. Those of the front must.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(export.refused(task, model, formats)), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return {}
    finally:
        process.join()
