"""Follow channels through a model by running it once: every ATen operation moves, joins or ends their labels.

Below the level of modules and functions all models consist of the same small set of operations, so this needs no rule
per architecture. An operation without a rule is no error: the channels that enter it are left alone, and it is named as
the reason. The rules are in ``moves.py`` and ``layers.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from autoprune.base.modes import modes_kept
from autoprune.base.tree import call
from autoprune.errors import UserError
from autoprune.prune.graph.experts import Experts
from autoprune.prune.graph.labels import Couplings
from autoprune.prune.graph.layers import Layers
from autoprune.prune.graph.propagation import Axis, IsMatrix
from autoprune.prune.graph.recurrent import watched
from autoprune.prune.graph.response_norm import counted
from autoprune.prune.graph.rules import Moves
from autoprune.prune.graph.slopes import Slopes

PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device, range, slice, type)
"""What may lie in an output beside tensors, and holds none."""


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors in a model's output, whatever holds them: containers, data classes, objects with attributes.

    The key and value caches of transformers are left out: a state for the model's own next call, as wide as its heads.

    Raises:
        UserError: something in it that cannot be looked into.
    """
    found: list[Tensor] = []
    seen: dict[int, Any] = {}

    def look(value: Any) -> None:
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor):
                found.append(leaf)
            elif not isinstance(leaf, PLAIN) and id(leaf) not in seen and not is_cache(leaf):
                seen[id(leaf)] = leaf  # kept alive, so that no other object gets its number
                for part in _parts(leaf):
                    look(part)

    look(output)
    return found


def _parts(holder: Any) -> list[Any]:
    """Return what an object that PyTorch does not know as a container holds."""
    if isinstance(holder, Mapping):
        return list(holder.values())
    if isinstance(holder, set | frozenset):
        return list(holder)
    slots = [name for kind in type(holder).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(holder, name)]
    if isinstance(holder, nn.Module) or callable(holder) or not (slots or hasattr(holder, "__dict__")):
        raise UserError(
            f"the model's output holds a {type(holder).__name__}, into which AutoPrune cannot look: "
            "return tensors, or containers, data classes and plain objects that hold them"
        )
    named = [getattr(holder, name) for name in slots if name not in ("__dict__", "__weakref__")]
    return [*getattr(holder, "__dict__", {}).values(), *named]


def is_cache(leaf: Any) -> bool:
    """Whether this is a cache of keys and values of transformers."""
    return any(kind.__module__ == "transformers.cache_utils" for kind in type(leaf).__mro__)


@dataclass
class Trace:
    """What one run of the model showed.

    Args:
        axes: where labels lie in the parameters and buffers.
        roles: ``in``, ``out`` or ``carry`` (both at once: a grouped convolution) by parameter and dimension.
        macs: multiply-accumulates of one example by parameter.
        outputs: shapes of the model's output tensors.
        beside: of parameters used without labels of their own: by what operation, and the labels of its result.
    """

    couplings: Couplings
    axes: list[Axis]
    roles: dict[tuple[str, int | None], str]
    macs: dict[str, float]
    outputs: list[torch.Size]
    beside: dict[str, tuple[str, Tensor | None]]


class _Tracer(Experts, Slopes, Layers, Moves):
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
                self.couplings.keep(labels, f"{axis.name.rpartition('.')[0]} is to be kept")
        if not self.outputs:
            raise UserError("the model's output holds no tensor: AutoPrune must see the output to keep its size")
        macs = {name: count / _batch(example_input) for name, count in self.macs.items()}
        shapes = [tensor.shape for tensor in self.outputs]
        return Trace(self.couplings, self.axes, self.roles, macs, shapes, self.beside)


def trace(model: nn.Module, example_input: Any, keep: Sequence[str] = (), inexact: bool = False) -> Trace:
    """Run ``model`` once, in evaluation mode, and return how its channels hang together.

    Args:
        keep: layers whose output channels stay.
        inexact: let channels under a norm go one by one, which changes the function.

    Raises:
        UserError: the output holds no tensor, or something that cannot be looked into.
    """
    fastpath = torch.backends.mha.get_fastpath_enabled()
    raw: set[str] = set()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with modes_kept(model), counted(model):
            while True:
                tracer = _Tracer(model, raw, inexact)
                try:
                    with (
                        torch.no_grad(),
                        sdpa_kernel(SDPBackend.MATH),
                        tracer.experts_followed(model),
                        tracer.slopes_followed(model),
                        watched(model, tracer.recurrent_runs),
                        tracer,
                    ):
                        tracer.outputs = tensors(call(model.eval(), copy.deepcopy(example_input)))
                        tracer.macs_counted = True
                        if tracer.unused():
                            tracer.outputs_in_training = _run_in_training(model, example_input)
                    break
                except IsMatrix as found:
                    raw.add(found.name)
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    return tracer.finish(keep, example_input)


def _run_in_training(model: nn.Module, example_input: Any) -> list[Tensor]:
    """Run once more as in training, where GoogLeNet, Inception and others have heads that evaluation does not use.

    Of two equal examples, since batch norm refuses a single one. If this run fails, training on such an input would.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]):
            return tensors(call(model.train(), tree_map(_twice, example_input)))
    except Exception:
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
