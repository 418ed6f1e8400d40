"""Follow channels through a model by running it once: every ATen operation moves, joins or ends their labels.

Below the level of modules and functions all models consist of the same small set of operations, so this needs no rule
per architecture. An operation without a rule is no error: the channels that enter it are left alone, and it is named as
the reason. The rules are in ``moves.py`` and ``layers.py``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from autoprune.pruning.follower import Axis, IsMatrix
from autoprune.pruning.labels import Ledger
from autoprune.pruning.layers import Layers
from autoprune.pruning.moves import Moves


def call(model: nn.Module, example_input: Any) -> Any:
    """Run ``model`` on a tensor, a tuple or list of positional arguments, or a mapping of named ones."""
    if isinstance(example_input, Mapping):
        return model(**example_input)
    if isinstance(example_input, tuple | list):
        return model(*example_input)
    return model(example_input)


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors in a model's output, whatever holds them."""
    found: list[Tensor] = []
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif isinstance(leaf, Mapping):
            found += tensors(list(leaf.values()))
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            found += tensors([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
    return found


@dataclass
class Trace:
    """What one run of the model showed.

    Args:
        axes: where labels lie in the parameters and buffers.
        roles: ``in``, ``out`` or ``carry`` (both at once: a grouped convolution) by parameter and dimension.
        macs: multiply-accumulates of one example by parameter.
        outputs: shapes of the model's output tensors.
    """

    ledger: Ledger
    axes: list[Axis]
    roles: dict[tuple[str, int], str]
    macs: dict[str, float]
    outputs: list[torch.Size]


class _Tracer(Layers, Moves):
    """All rules together."""

    def finish(self, keep: Sequence[str], example_input: Any) -> Trace:
        """Say that outputs and ``keep`` stay, and return all that was seen."""
        for tensor in self.outputs + self.outputs_in_training:
            labels = self.get(tensor)
            if labels is not None:
                self.stop(labels, "it is the model's output")
        for axis in self.axes:
            if axis.name.rpartition(".")[0] in keep and self.roles.get((axis.name, axis.dim)) in ("out", "carry"):
                labels = torch.arange(axis.start, axis.start + axis.shape[0], dtype=torch.int32)
                self.ledger.keep(labels, f"{axis.name.rpartition('.')[0]} is to be kept")
        macs = {name: count / _batch(example_input) for name, count in self.macs.items()}
        return Trace(self.ledger, self.axes, self.roles, macs, [tensor.shape for tensor in self.outputs])


def trace(model: nn.Module, example_input: Any, keep: Sequence[str] = (), inexact: bool = False) -> Trace:
    """Run ``model`` once, in evaluation mode, and return how its channels hang together.

    Args:
        keep: layers whose output channels stay.
        inexact: let channels under a LayerNorm go one by one, which changes the function.
    """
    modes = [(module, module.training) for module in model.modules()]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    raw: set[str] = set()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        while True:
            tracer = _Tracer(model, raw, inexact)
            try:
                with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), tracer:
                    tracer.outputs = tensors(call(model.eval(), copy.deepcopy(example_input)))
                    tracer.macs_counted = True
                    if tracer.unused():
                        tracer.outputs_in_training = _run_in_training(model, example_input)
                break
            except IsMatrix as found:
                raw.add(found.name)
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, mode in modes:
            module.training = mode
    return tracer.finish(keep, example_input)


def _run_in_training(model: nn.Module, example_input: Any) -> list[Tensor]:
    """Run once more as in training, where GoogLeNet, Inception and others have heads that evaluation does not use.

    Of two equal examples, since batch norm refuses a single one. If this run fails, training on such an input would.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]):
            return tensors(call(model.train(), tree_map(_twice, example_input)))
    except (RuntimeError, ValueError):
        return []
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
        model.eval()


def _batch(example_input: Any) -> int:
    """Return the number of examples: the length of the first tensor; a list of images (detection) counts as one."""
    first = example_input
    while isinstance(first, Mapping | tuple):
        first = next(iter(first.values() if isinstance(first, Mapping) else first))
    return len(first) if isinstance(first, Tensor) and first.ndim else 1


def _twice(leaf: Any) -> Any:
    return torch.cat([leaf, leaf]) if isinstance(leaf, Tensor) and leaf.ndim else leaf
