"""A pruned model of transformers whose sizes no configuration can express, with a small modelling file of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.base.files import write_text
from autoprune.errors import UserError
from autoprune.export.narrowed import renumbered, shallower, stacks
from autoprune.prune.blocks import Skip

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODULE = "modeling_pruned"

CODE = '''\
"""A {base} whose layers differ in size: `config.pruned` says how. It needs transformers and PyTorch alone."""

import torch
from torch import nn
from transformers import {base}


class Pruned{base}({base}):
    """Made as its class makes it, then every layer resized."""

    def __init__(self, config):
        super().__init__(config)
        for name, sizes in config.pruned["attributes"].items():
            for attribute, value in sizes.items():
                setattr(self.get_submodule(name), attribute, tuple(value) if isinstance(value, list) else value)
        made = {{}}
        for name, shape in config.pruned["shapes"].items():
            owner, _, key = name.rpartition(".")
            layer = self.get_submodule(owner)
            tensors = layer._parameters if key in layer._parameters else layer._buffers
            old = tensors[key]
            like = next(self.parameters()) if old is None else old
            new = torch.empty(shape, dtype=like.dtype, device=like.device)
            if tensors is layer._parameters:
                new = made.setdefault(id(old), nn.Parameter(new)) if old is not None else nn.Parameter(new)
            tensors[key] = new
'''


def save_with_code(model: PreTrainedModel, folder: Path) -> None:
    """Save a pruned model with a modelling file, for ``from_pretrained`` with ``trust_remote_code=True``.

    Args:
        model: its configuration is the dense one's, and stays; it says beside that what each layer's sizes are.

    Raises:
        UserError: a layer is of a class of AutoPrune's, or no auto class makes such models.
    """
    kind = type(model)
    config, state = shallower(model)
    dense = kind(config)
    before, shapes = dict(dense.named_modules()), {name: tensor.shape for name, tensor in dense.state_dict().items()}
    modules = {name: module for name, module in model.named_modules() if not isinstance(module, Skip)}
    for left, stack in stacks(model):
        modules = renumbered(modules, left, stack)
    attributes = {}
    for name, module in modules.items():
        if type(module) is not type(before[name]):
            raise UserError(f"{name} is a {type(module).__name__} now, which only AutoPrune has")
        own, whole = _sizes(module), _sizes(before[name])
        if changed := {key: value for key, value in own.items() if whole.get(key) != value}:
            attributes[name] = changed
    config.pruned = {
        "attributes": attributes,
        "shapes": {name: list(tensor.shape) for name, tensor in state.items() if shapes.get(name) != tensor.shape},
    }
    config.auto_map = {_auto_class(model): f"{MODULE}.Pruned{kind.__name__}"}
    config.architectures = [f"Pruned{kind.__name__}"]
    code = CODE.format(base=kind.__name__)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{MODULE}.py"
    write_text(file, code)
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None and spec.loader is not None  # it is a file of Python
    saved = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(saved)  # what is saved is what was run here
    smaller = getattr(saved, f"Pruned{kind.__name__}")(config)
    smaller.load_state_dict(state)
    smaller.save_pretrained(folder)


def _sizes(module: object) -> dict[str, object]:
    """Return a layer's attributes that may be sizes."""
    held = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    whole = (int, tuple)
    return {name: value for name, value in held.items() if isinstance(value, whole) and not isinstance(value, bool)}


def _auto_class(model: PreTrainedModel) -> str:
    """Return the name of the auto class that makes models of this class."""
    import transformers

    for name in dir(transformers):
        mapping = getattr(getattr(transformers, name), "_model_mapping", None) if name.startswith("AutoModel") else None
        try:
            made = mapping[type(model.config)] if mapping is not None else ()
        except KeyError:
            continue
        if type(model) in (made if isinstance(made, tuple) else (made,)):
            return name
    raise UserError(f"no auto class of transformers makes a {type(model).__name__}")
