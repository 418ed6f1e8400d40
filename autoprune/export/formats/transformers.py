"""A folder of transformers' own: ``config.json`` and safetensors, for ``from_pretrained`` and without AutoPrune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.base.quiet import quiet
from autoprune.base.tree import examples
from autoprune.errors import UserError
from autoprune.export.formats.base import Format, Run, runner
from autoprune.export.narrowed import narrowed
from autoprune.prune.outputs import outputs, relative_difference
from autoprune.task.task import Task

SAME = 1e-4
"""Largest difference of outputs, relative, that is rounding."""


def write(model: nn.Module, inputs: Any, folder: Path) -> None:
    """Write ``model`` with a configuration of its own sizes.

    Raises:
        UserError: it is no model of transformers, or its configuration cannot express its sizes.
    """
    import transformers

    if not isinstance(model, transformers.PreTrainedModel):
        raise UserError(f"{type(model).__name__} is no model of transformers")
    with quiet(), torch.random.fork_rng(devices=[]):  # a model is made with first weights
        smaller = narrowed(model, examples(inputs, 0, 1))
        if relative_difference(outputs(smaller, inputs), outputs(model, inputs)) > SAME:
            raise UserError("made of its new configuration it computes something else: a scale follows its width")
        smaller.save_pretrained(folder)


def load(folder: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the network, as transformers alone makes it of the folder."""
    import transformers

    with quiet():
        (kind,) = transformers.AutoConfig.from_pretrained(folder).architectures
        return runner(getattr(transformers, kind).from_pretrained(folder).eval())


FORMAT = Format(
    suffix="transformers",
    runtime="PyTorch (transformers)",
    write=write,
    load=load,
    how_to_load="import transformers\n"
    '(name,) = transformers.AutoConfig.from_pretrained("{file}").architectures\n'
    'model = getattr(transformers, name).from_pretrained("{file}")',
    package="transformers",
    extra="text",
    folder=True,
)
