"""A folder of transformers' own: ``config.json`` and safetensors, for ``from_pretrained`` and without AutoPrune."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.base.quiet import quiet
from autoprune.base.tree import examples
from autoprune.errors import UserError
from autoprune.export.formats.base import Format, Run, runner
from autoprune.export.narrowed import narrowed
from autoprune.export.own_code import save_with_code
from autoprune.prune.outputs import outputs, relative_difference
from autoprune.task.task import Task

SAME = 1e-4
"""Largest difference of outputs, relative, that is rounding."""


def write(model: nn.Module, inputs: Any, folder: Path) -> None:
    """Write ``model`` with a configuration of its own sizes.

    What a configuration cannot express gets a small modelling file of its own, and a warning says so and why.

    Raises:
        UserError: it is no model of transformers, or has layers that AutoPrune made others of.
    """
    import transformers

    if not isinstance(model, transformers.PreTrainedModel):
        raise UserError(f"{type(model).__name__} is no model of transformers")
    with _silently(), torch.random.fork_rng(devices=[]):  # a model is made with first weights
        try:
            smaller = narrowed(model, examples(inputs, 0, 1))
            if relative_difference(outputs(smaller, inputs), outputs(model, inputs)) > SAME:
                raise UserError("made of its new configuration it computes something else: a scale follows its width")
        except UserError as error:
            save_with_code(model, folder)
            why = f"{error}. So it has a modelling file of its own: load it with trust_remote_code=True"
        else:
            smaller.save_pretrained(folder)
            return
    warnings.warn(why, stacklevel=2)


def load(folder: Path, task: Task | None = None, threads: int = 1) -> Run:
    """Return a function that runs the network, as transformers alone makes it of the folder."""
    import transformers

    with _silently():
        config = transformers.AutoConfig.from_pretrained(folder)
        own = getattr(config, "auto_map", None)
        (kind,) = own or config.architectures
        return runner(getattr(transformers, kind).from_pretrained(folder, trust_remote_code=bool(own)).eval())


@contextmanager
def _silently() -> Iterator[None]:
    """Keep transformers' remarks and bars off the terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


FORMAT = Format(
    suffix="transformers",
    runtime="PyTorch (transformers)",
    write=write,
    load=load,
    how_to_load="import transformers\n"
    'config = transformers.AutoConfig.from_pretrained("{file}")\n'
    'own = getattr(config, "auto_map", None)  # a modelling file in the folder, which must be trusted to run\n'
    "(name,) = own or config.architectures\n"
    'model = getattr(transformers, name).from_pretrained("{file}", trust_remote_code=bool(own))',
    package="transformers",
    extra="text",
    folder=True,
)
