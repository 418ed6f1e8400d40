"""Labels of the tensors of a running model: what every rule builds on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from autoprune.prune.graph.constants import Copies
from autoprune.prune.graph.heads import cuts_by_heads
from autoprune.prune.graph.labels import SINGLE, Couplings, core, varying
from autoprune.prune.graph.named_sizes import follows

LIMIT = 50_000_000
"""Elements of the largest label tensor that is ever written out: 200 MB."""

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
POINTWISE = frozenset(  # that carry no tag in PyTorch
    {"hardswish", "_prelu_kernel", "rsub", "floor_divide", "native_dropout", "bernoulli", "_to_copy", "contiguous"}
    | {"triu", "tril"}
    | {"hardtanh", "leaky_relu", "ldexp"}  # nor do these before PyTorch 2.15
)


@dataclass(frozen=True)
class Axis:
    """Where a parameter's labels lie: along ``dim`` of ``name``, or one for each element if ``dim`` is None."""

    name: str
    dim: int | None
    start: int
    shape: tuple[int, ...]


@dataclass
class Weight:
    """The labels of a parameter that maps channels to channels: those of dimension 0 and of dimension 1, expanded."""

    name: str
    dims: tuple[Tensor, Tensor]


class IsMatrix(Exception):
    """A bare parameter turned out to be a matrix that maps channels: trace again, with labels by dimension."""

    def __init__(self, name: str) -> None:
        self.name = name


class LabelPropagator(TorchDispatchMode):
    """Gives every tensor of a running model its labels, by a rule for each operation.

    Rules are methods ``do_OPERATION(func, name, named, out)``, where ``named`` holds the operation's arguments by name,
    or are found by :meth:`rule` for operations of a kind.

    Args:
        raw: bare parameters that are known to be matrices.
        inexact: let channels under a norm go one by one.
    """

    def __init__(self, model: nn.Module, raw: set[str], inexact: bool) -> None:
        super().__init__()
        self.couplings, self.inexact = Couplings(), inexact
        self.axes: list[Axis] = []
        self.roles: dict[tuple[str, int | None], str] = {}
        self.macs: dict[str, float] = {}
        self.macs_counted = False
        self.outputs: list[Tensor] = []
        self.outputs_in_training: list[Tensor] = []
        self.in_recurrent = 0
        self.raw = raw
        self.names: dict[int, str] = {}
        self.beside: dict[str, tuple[str, Tensor | None]] = {}
        self.matrices: set[str] = set(raw)
        self.cut_by_heads = {name for name, layer in model.named_modules() if cuts_by_heads(layer)}
        for prefix, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # its parameters cannot be replaced
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                full = f"{prefix}.{name}" if prefix else name
                if not tensor.is_floating_point() or id(tensor) in self.names:
                    continue
                if name in module._non_persistent_buffers_set and not follows(module, name):
                    continue  # it is in no state dict, so a pruned one could not be loaded: it stays as it is
                self.names[id(tensor)] = full
                matrix = isinstance(tensor, nn.Parameter) and tensor.ndim > 1
                named = name.endswith("weight") and not isinstance(module, NORMS)
                if matrix and (named or isinstance(module, nn.RNNBase)):
                    self.matrices.add(full)
        self.found: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.pending: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.copies = Copies()
        self.paused = False  # inside a module that has a rule of its own
        self.expert_axes: dict[tuple[str, int], Tensor] = {}

    # -- labels of tensors ---------------------------------------------------------------------------------------

    def get(self, tensor: Any) -> Tensor | Weight | None:
        """Return the labels of ``tensor``, or None: it is a constant, which cannot shrink."""
        if not isinstance(tensor, Tensor):
            return None
        if tensor in self.pending:
            self.pending.pop(tensor)()
        if tensor in self.found:
            return self.found[tensor]
        name = self.names.get(id(tensor))
        if name is None:
            return None
        shape = tuple(tensor.shape)
        if name in self.matrices:
            dims: list[Tensor] = []
            for dim in (0, 1):
                labels = self.couplings.new(shape[dim : dim + 1])
                self.axes.append(Axis(name, dim, int(labels[0]), shape[dim : dim + 1]))
                dims.append(labels.view([-1 if i == dim else 1 for i in range(len(shape))]).expand(shape))
            self.found[tensor] = Weight(name, (dims[0], dims[1]))
        elif tensor.numel() > LIMIT:
            return None
        else:
            labels = self.couplings.new(shape)
            self.axes.append(Axis(name, None, self.couplings.count - labels.numel(), shape))
            self.found[tensor] = labels
        return self.found[tensor]

    def plain(self, tensor: Any, op: str) -> Tensor | None:
        """Return the labels of an activation; a weight that is computed with stays as it is."""
        labels = self.get(tensor)
        if isinstance(labels, Weight):
            self.stop(labels, f"the weight {labels.name} goes through {op}")
            return None
        return labels

    def stop(self, labels: Tensor | Weight, why: str) -> None:
        """Say that these channels stay."""
        for part in labels.dims if isinstance(labels, Weight) else [labels]:
            self.couplings.keep(part, why)

    def put(self, tensor: Tensor, labels: Tensor | Weight | None) -> None:
        """Set the labels of ``tensor``; None makes it a constant."""
        if labels is None:
            self.found.pop(tensor, None)
        else:
            self.found[tensor] = labels

    # -- operations ----------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.paused:
            return out
        name = func._schema.name.split("::")[1]
        if name.endswith("_") and not name.endswith("__"):
            name = name[:-1]
        rule = self.rule(func, name)
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        rule(func, name, named, out)
        for value in named.values():
            parameter = self.names.get(id(value)) if isinstance(value, Tensor) else None
            if parameter and value not in self.found and parameter not in self.beside:
                first = out[0] if isinstance(out, list | tuple) else out
                labels = self.found.get(first) if isinstance(first, Tensor) else None
                self.beside[parameter] = name.strip("_"), labels if isinstance(labels, Tensor) else None
        return out

    def rule(self, func, name: str) -> Callable:
        """Return the rule for an operation: its own, that of its kind, or :meth:`unknown`."""
        own = getattr(self, f"do_{name}", None)
        if own:
            return own
        if name.endswith("_like") or torch.Tag.pointwise in func.tags or name in POINTWISE:
            return self.elementwise
        return self.unknown

    def unknown(self, func, name, named, out) -> None:
        """Let everything that enters stay."""
        for leaf in tree_leaves(list(named.values())):
            labels = self.get(leaf)
            if labels is not None:
                self.stop(labels, f"it passes through {name}, which is not understood")
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.put(leaf, None)

    def elementwise(self, func, name, named, out) -> None:
        """Join the labels of all operands."""
        operands = [leaf for leaf in tree_leaves(list(named.values())) if isinstance(leaf, Tensor)]
        result = None
        if len(operands) == 1 and isinstance(self.get(operands[0]), Weight) and name in ("clone", "_to_copy"):
            result = self.get(operands[0])
        else:
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    result = self.combine(operands, leaf.shape, name)
                    if result is None:
                        self.copies.combined(operands, leaf)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.put(leaf, result)

    def combine(self, operands: list[Tensor], shape: torch.Size, name: str) -> Tensor | None:
        """Join the labels of tensors that are broadcast against each other."""
        ndim, result = len(shape), None
        labelled, fixed = [], []
        for tensor in operands:
            labels = self.plain(tensor, name)
            own = tuple(tensor.shape)
            own = (1,) * (ndim - len(own)) + own
            wide = [axis for axis, size in enumerate(own) if size > 1]
            if labels is None:
                fixed.append((tensor, wide))
            else:
                labelled.append((labels.reshape(own) if labels.ndim < ndim else labels, wide))
        labelled.sort(key=lambda item: -len(varying(item[0])))
        for labels, wide in labelled:
            if result is None:
                result = labels
            elif varying(labels) and set(varying(result)) - set(varying(labels)):
                self.couplings.spread(labels, result)
            elif varying(labels) or not varying(result):
                self.couplings.join(result, labels)
            else:  # one channel, broadcast over all the others: it must not go, and they must not feel it
                self.couplings.keep(labels, SINGLE)
                fixed.append((labels, wide))
        if result is None:
            return None
        for tensor, wide in fixed:
            wide = [axis for axis in wide if not self.copies.follow(tensor, result, axis)]
            self.couplings.fix(result, wide, "it is combined with a constant of fixed size")
        return result.expand(shape)

    def do_copy(self, func, name, named, out) -> None:
        """Join what is written with what it is written into."""
        source, target = self.plain(named["src"], name), self.plain(named["self"], name)
        whole = self.copies.is_filled(named["self"]) and target is None and source is not None
        self.copies.combined([], named["self"])
        if whole and source is not None:  # such as a state that is kept for the next call
            self.put(out, source.expand(out.shape))
        elif source is not None and target is None:
            self.stop(source, "it is written into a tensor of fixed size")
        elif source is not None or target is not None:
            self.combine([named["self"], named["src"]], out.shape, name)

    def do_zero(self, func, name, named, out) -> None:
        """Leave the labels: the tensor keeps its channels."""

    do_fill = do_empty = do_arange = do_zero

    def do_zeros(self, func, name, named, out) -> None:
        """Give the state from which a recurrent layer begins the labels of its hidden units; else make a constant."""
        if self.in_recurrent:
            self.put(out, self.couplings.new(out.shape[-1:]).expand(out.shape))
        else:
            self.filled(func, name, named, out)

    def nothing(self, func, name, named, out) -> None:
        """Make the result a constant."""
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.put(leaf, None)

    do_new_empty = nothing

    def filled(self, func, name, named, out) -> None:
        """Make the result a constant of one number."""
        self.put(out, None)
        self.copies.filled(out)

    do_ones = do_full = do_new_zeros = do_new_ones = do_new_full = filled

    def do_as_strided(self, func, name, named, out) -> None:
        """Allow a change of the memory layout only."""
        if named["self"] is not out or tuple(named["size"]) != tuple(out.shape):
            self.unknown(func, name, named, out)

    def is_cut_by_heads(self, labels: Tensor, dim: int) -> bool:
        """Whether along ``dim`` lie all heads of a projection that its attention cuts where its numbers of heads say.

        Such a cut moves with what is removed: the pieces need not be equal.
        """
        if not self.cut_by_heads or varying(labels)[:1] != [dim % labels.ndim]:
            return False
        line = core(labels).flatten()
        made = self.axes[bisect_right(self.axes, int(line[0]), key=lambda axis: axis.start) - 1]
        layer = made.name.rpartition(".")[0]
        whole = torch.arange(made.start, made.start + made.shape[0], dtype=line.dtype)
        return bool({layer, layer.rpartition(".")[0]} & self.cut_by_heads) and torch.equal(line, whole)

    def recurrent_runs(self, change: int) -> None:
        """Note that one more recurrent layer runs, or one less."""
        self.in_recurrent += change

    def role(self, weight: Weight, dim: int, role: str) -> None:
        """Note what a dimension of a weight does."""
        before = self.roles.setdefault((weight.name, dim), role)
        if before != role:
            self.roles[weight.name, dim] = "carry"

    def normed(self, labels: Tensor) -> Tensor | None:
        """Return the channels that a norm over the last axis spans, if they may go one by one: shape ``(1, ..., C)``.

        None if they may not, or lie along other axes too: those of a head's queries differ from head to head.
        """
        last = [labels.ndim - 1]
        if not self.inexact or (varying(labels) != last and self.couplings.varying_by_now(labels) != last):
            return None
        return self.couplings.tie(labels, range(labels.ndim - 1))

    def count(self, weight: Weight, macs: int) -> None:
        """Count multiply-accumulates."""
        if not self.macs_counted:
            self.macs[weight.name] = self.macs.get(weight.name, 0) + macs

    def unused(self) -> bool:
        """Whether some matrix had no part in the run."""
        return bool(self.matrices - {name for name, _ in self.roles})
