"""Follow channels through a model by running it once: every ATen operation moves, joins or ends their labels.

Below the level of modules and functions all models consist of the same small set of operations, so this needs no rule
per architecture. An operation without a rule here is no error: the channels that enter it are left alone, and it is
named as the reason.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from autoprune.pruning.labels import Ledger, compact, core, varying

LIMIT = 50_000_000
"""Elements of the largest label tensor that is ever written out: 200 MB."""

MOVES = frozenset(
    {"permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "flip", "repeat", "unfold", "alias", "detach"}
    | {"select", "slice", "split", "split_with_sizes", "unbind", "roll", "index", "index_select", "lift_fresh"}
)
VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias"})
SPATIAL = ("max_pool", "avg_pool", "adaptive", "upsample", "reflection_pad", "replication_pad")
REDUCTIONS = frozenset(
    {"sum", "mean", "amax", "amin", "var", "std", "var_mean", "prod", "max", "min", "argmax", "argmin"}
    | {"logsumexp", "linalg_vector_norm", "norm", "any", "all", "median"}
)
ALONG = frozenset({"_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "logcumsumexp"})
POINTWISE = frozenset(  # that carry no tag in PyTorch
    {"hardswish", "_prelu_kernel", "rsub", "floor_divide", "native_dropout", "bernoulli", "_to_copy", "contiguous"}
    | {"triu", "tril"}
)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


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


@dataclasses.dataclass(frozen=True)
class Axis:
    """Where a parameter's labels lie: along ``dim`` of ``name``, or one for each element if ``dim`` is None."""

    name: str
    dim: int | None
    start: int
    shape: tuple[int, ...]


@dataclasses.dataclass
class Weight:
    """The labels of a parameter that maps channels to channels: those of dimension 0 and of dimension 1, expanded."""

    name: str
    dims: tuple[Tensor, Tensor]


@dataclasses.dataclass
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
            except _IsWeight as found:
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
        return tensors(call(model.train(), tree_map(_twice, example_input)))
    except (RuntimeError, ValueError):
        return []
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
        model.eval()


class _IsWeight(Exception):
    """A bare parameter turned out to be a matrix that maps channels: trace again, with labels by dimension."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Tracer(TorchDispatchMode):
    def __init__(self, model: nn.Module, raw: set[str], inexact: bool) -> None:
        super().__init__()
        self.ledger, self.inexact = Ledger(), inexact
        self.axes: list[Axis] = []
        self.roles: dict[tuple[str, int], str] = {}
        self.macs: dict[str, float] = {}
        self.macs_counted = False
        self.outputs: list[Tensor] = []
        self.outputs_in_training: list[Tensor] = []
        self.raw = raw
        self.names: dict[int, str] = {}
        self.matrices: set[str] = set(raw)
        for prefix, module in model.named_modules():
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                full = f"{prefix}.{name}" if prefix else name
                if not tensor.is_floating_point() or id(tensor) in self.names:
                    continue
                if name in module._non_persistent_buffers_set:
                    continue  # it is in no state dict, so a pruned one could not be loaded: it stays as it is
                self.names[id(tensor)] = full
                matrix = isinstance(tensor, nn.Parameter) and tensor.ndim > 1 and name.endswith("weight")
                if matrix and not isinstance(module, NORMS):
                    self.matrices.add(full)
        self.found: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.pending: WeakIdKeyDictionary = WeakIdKeyDictionary()

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
            dims = []
            for dim in (0, 1):
                labels = self.ledger.new(shape[dim : dim + 1])
                self.axes.append(Axis(name, dim, int(labels[0]), shape[dim : dim + 1]))
                dims.append(labels.view([-1 if i == dim else 1 for i in range(len(shape))]).expand(shape))
            self.found[tensor] = Weight(name, tuple(dims))
        elif tensor.numel() > LIMIT:
            return None
        else:
            labels = self.ledger.new(shape)
            self.axes.append(Axis(name, None, self.ledger.count - labels.numel(), shape))
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
        for part in labels.dims if isinstance(labels, Weight) else [labels]:
            self.ledger.keep(part, why)

    def put(self, tensor: Tensor, labels: Tensor | Weight | None) -> None:
        if labels is None:
            self.found.pop(tensor, None)
        else:
            self.found[tensor] = labels

    # -- operations ----------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        if name.endswith("_") and not name.endswith("__"):
            name = name[:-1]
        rule = self.rule(func, name)
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        rule(func, name, named, out)
        return out

    def rule(self, func, name: str) -> Callable:
        own = getattr(self, f"do_{name}", None)
        if own:
            return own
        if name in VIEWS:
            return self.view
        if name in MOVES:
            return self.move
        if "batch_norm" in name:
            return self.batch_norm
        if name in REDUCTIONS:
            return self.reduce
        if name in ALONG:
            return self.along
        if any(part in name for part in SPATIAL):
            return self.spatial
        if name.endswith("_like") or torch.Tag.pointwise in func.tags or name in POINTWISE:
            return self.elementwise
        return self.unknown

    def unknown(self, func, name, named, out) -> None:
        for leaf in tree_leaves(list(named.values())):
            labels = self.get(leaf)
            if labels is not None:
                self.stop(labels, f"it passes through {name}, which is not understood")
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.put(leaf, None)

    def elementwise(self, func, name, named, out) -> None:
        operands = [leaf for leaf in tree_leaves(list(named.values())) if isinstance(leaf, Tensor)]
        result = None
        if len(operands) == 1 and isinstance(self.get(operands[0]), Weight) and name in ("clone", "_to_copy"):
            result = self.get(operands[0])
        else:
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    result = self.combine(operands, leaf.shape, name)
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
                fixed.append(wide)
            else:
                labelled.append((labels.reshape(own) if labels.ndim < ndim else labels, wide))
        labelled.sort(key=lambda item: -len(varying(item[0])))
        for labels, wide in labelled:
            if result is None:
                result = labels
            elif varying(labels) or not varying(result):
                self.ledger.join(result, labels)
            else:  # one channel, broadcast over all the others: it must not go, and they must not feel it
                self.ledger.keep(labels, "it is a single channel that others are combined with")
                fixed.append(wide)
        if result is None:
            return None
        for wide in fixed:
            self.ledger.fix(result, wide, "it is combined with a constant of fixed size")
        return result.expand(shape)

    def do_copy(self, func, name, named, out) -> None:
        source, target = self.plain(named["src"], name), self.plain(named["self"], name)
        if source is not None and target is None:
            self.stop(source, "it is written into a tensor of fixed size")
        elif source is not None or target is not None:
            self.combine([named["self"], named["src"]], out.shape, name)

    def do_zero(self, func, name, named, out) -> None:
        """Leave the labels: the tensor keeps its channels."""

    do_fill = do_zero
    do_empty = do_zeros = do_ones = do_full = do_arange = do_zero

    def nothing(self, func, name, named, out) -> None:
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.put(leaf, None)

    do_new_zeros = do_new_ones = do_new_full = do_new_empty = nothing

    def do_as_strided(self, func, name, named, out) -> None:
        if named["self"] is not out or tuple(named["size"]) != tuple(out.shape):
            self.unknown(func, name, named, out)

    def reshaped(self, labels: Tensor, shape: torch.Size) -> Tensor | None:
        if tuple(labels.shape) == tuple(shape):
            return labels
        if shape.numel() > LIMIT:
            self.ledger.keep(labels, f"following it would need more than {LIMIT * 4 // 10**6} MB")
            return None
        moved = compact(labels.reshape(shape))
        for axes in _segments(labels.shape, shape):
            changing = [axis for axis in axes if axis in varying(moved)]
            if len(changing) > 1:
                self.ledger.split(moved, changing)
        return moved

    def view(self, func, name, named, out) -> None:
        labels = self.get(named["self"])
        if isinstance(labels, Weight):
            moved = tuple(self.reshaped(part, out.shape) for part in labels.dims)
            self.put(out, None if None in moved else Weight(labels.name, moved))
        elif labels is not None:
            self.put(out, self.reshaped(labels, out.shape))

    def move(self, func, name, named, out) -> None:
        labels = self.get(named["self"])
        if labels is None:
            return
        parts = labels.dims if isinstance(labels, Weight) else (labels,)
        for part in parts:
            self.before_move(name, named, part)
        rest = {key: tree_map(_on_cpu, value) for key, value in named.items() if key != "self"}
        moved = [func(part, **rest) for part in parts]
        outs = out if isinstance(out, list | tuple) else [out]
        for i, tensor in enumerate(outs):
            pieces = [compact(m[i] if isinstance(m, list | tuple) else m) for m in moved]
            self.put(tensor, Weight(labels.name, tuple(pieces)) if isinstance(labels, Weight) else pieces[0])

    def before_move(self, name: str, named: dict, labels: Tensor) -> None:
        """Note what a piece cut out at a fixed place asks of the axis it is cut from."""
        dim = named.get("dim", 0)
        if name in ("select", "unbind"):
            self.ledger.fix(labels, [dim], "one of its channels is picked by number")
        elif name in ("split", "split_with_sizes", "slice"):
            size = labels.size(dim)
            if name == "split":
                length, start = named["split_size"], 0
            elif name == "split_with_sizes":
                length, start = named["split_sizes"][0], 0
                if set(named["split_sizes"]) != {length}:
                    length = 0
            else:
                start, end = named.get("start") or 0, named.get("end")
                start = start + size if start < 0 else start
                end = size if end is None else min(end + size if end < 0 else end, size)
                length = end - start if named.get("step", 1) == 1 else 0
            if length == size or dim % labels.ndim not in varying(labels):
                return
            if length > 0 and size % length == 0 and start % length == 0:
                self.ledger.tie(labels.unflatten(dim, (-1, length)), [dim % labels.ndim], "it is cut into equal pieces")
            else:
                self.ledger.fix(labels, [dim], "it is cut at a fixed place")
        elif name == "index":
            indices = named["indices"]
            self.ledger.fix(labels, [i for i, x in enumerate(indices) if x is not None], "its channels are indexed")
        elif name in ("index_select", "unfold"):
            self.ledger.fix(labels, [named.get("dim", named.get("dimension", 0))], "its channels are indexed")
        elif name == "roll":
            self.ledger.fix(labels, named.get("dims") or range(labels.ndim), "its channels are rolled")

    def do_cat(self, func, name, named, out) -> None:
        pieces, dim = named["tensors"], named.get("dim", 0) % out.ndim
        pieces = [piece for piece in pieces if piece.ndim == out.ndim]
        found = [self.plain(piece, name) for piece in pieces]
        known = [labels for labels in found if labels is not None]
        if not known:
            return
        leader, labels_of = None, []
        for piece, labels in zip(pieces, found, strict=True):
            if labels is None:
                wide = [axis for axis, size in enumerate(piece.shape) if size > 1 and axis != dim]
                for other in known:
                    self.ledger.fix(other, wide, "it is concatenated with a constant")
                labels = torch.zeros((1,) * out.ndim, dtype=torch.int32).expand(piece.shape)
            elif varying(labels) and dim not in varying(labels):
                # pieces share all other axes, so what goes from one piece goes from each
                first = labels.narrow(dim, 0, 1)
                if leader is None:
                    leader = first
                else:
                    self.ledger.join(leader, first)
                labels = leader.expand(piece.shape)
            labels_of.append(labels)
        still = [a for a in range(out.ndim) if a != dim and all(a not in varying(labels) for labels in labels_of)]
        for axis in still:
            labels_of = [labels.narrow(axis, 0, min(1, labels.size(axis))) for labels in labels_of]
        self.put(out, compact(torch.cat(labels_of, dim)).expand(out.shape))

    def do_stack(self, func, name, named, out) -> None:
        labels = self.combine(list(named["tensors"]), named["tensors"][0].shape, name)
        if labels is not None:
            self.put(out, labels.unsqueeze(named.get("dim", 0)).expand(out.shape))

    def do_glu(self, func, name, named, out) -> None:
        labels, dim = self.plain(named["self"], name), named.get("dim", -1)
        if labels is not None:
            self.before_move("split", {"dim": dim, "split_size": out.size(dim)}, labels)
            self.put(out, labels.narrow(dim, 0, out.size(dim)))

    def do_channel_shuffle(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is not None:
            apart = self.reshaped(
                labels, torch.Size([len(out), named["groups"], out.size(1) // named["groups"], *out.shape[2:]])
            )
            self.put(out, None if apart is None else compact(apart.transpose(1, 2).reshape(out.shape)))

    def do_pixel_shuffle(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is not None:
            channels = self.ledger.tie(labels, [labels.ndim - 2, labels.ndim - 1])
            channels = channels.unflatten(-3, (-1, named["upscale_factor"] ** 2))
            self.put(out, self.ledger.tie(channels, [labels.ndim - 2]).squeeze(-3).expand(out.shape))

    def do_constant_pad_nd(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is None:
            return
        pad = [(0, 0)] * (out.ndim - len(named["pad"]) // 2)
        pad += list(zip(named["pad"][::2], named["pad"][1::2], strict=True))[::-1]
        changing = varying(labels)
        self.ledger.fix(labels, [a for a in changing if min(pad[a]) < 0], "its channels are cut at a fixed place")
        for axis in changing:
            if pad[axis] != (0, 0):
                flat = [n for a in range(out.ndim - 1, -1, -1) for n in (pad[axis] if a == axis else (0, 0))]
                labels = torch.nn.functional.pad(core(labels), flat)
        self.put(out, compact(core(labels).expand(out.shape)))

    def spatial(self, func, name, named, out) -> None:
        """Pooling, resizing and padding of the image: channels stay what they are."""
        source = next(value for value in named.values() if isinstance(value, Tensor))
        labels = self.plain(source, name)
        if labels is None:
            return
        axes = range(2 if name[-2:] != "1d" or source.ndim > 2 else 1, source.ndim)
        if source.ndim < 4 and "2d" in name:
            axes = range(1, source.ndim)
        flat = self.ledger.tie(labels, axes)
        for leaf in tree_leaves(out):
            self.put(leaf, flat.expand(leaf.shape))

    def do_roi_align(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is not None:
            self.put(out, self.ledger.tie(labels, [0, 2, 3]).expand(out.shape))

    do_roi_pool = do_roi_align

    def reduce(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is None:
            return
        dims = named.get("dim")
        dims = range(labels.ndim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        dims = sorted({dim % labels.ndim for dim in dims}) if labels.ndim else []
        first = labels
        for dim in dims:
            first = first.narrow(dim, 0, 1)
        for leaf in tree_leaves(out):
            result = first
            if leaf.ndim < first.ndim:
                for dim in reversed(dims):
                    result = result.squeeze(dim)
            self.put(leaf, result.expand(leaf.shape))
            if set(dims) & set(varying(labels)):  # only if somebody reads it: attention weights are often thrown away
                self.pending[leaf] = lambda: self.ledger.tie(labels, dims, f"a {name} over its channels")

    def along(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is not None:
            self.put(
                out, self.ledger.tie(labels, [named["dim"]], f"a {name.strip('_')} over its channels").expand(out.shape)
            )

    # -- layers --------------------------------------------------------------------------------------------------

    def affine(self, channels: Tensor, named: dict, names: Sequence[str]) -> None:
        for key in names:
            tensor = named.get(key)
            if isinstance(tensor, Tensor):
                own = self.plain(tensor, "a norm")
                if own is None:
                    self.ledger.keep(channels, "a norm has fixed parameters")
                else:
                    self.ledger.join(channels.reshape(own.shape), own)

    def batch_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        outs = out if isinstance(out, list | tuple) else [out]
        if labels is None:
            return
        axes = [axis for axis in range(labels.ndim) if axis != 1]
        channels = self.ledger.tie(labels, axes)
        self.affine(channels.flatten(), named, ("weight", "bias", "running_mean", "running_var"))
        self.put(outs[0], channels.expand(outs[0].shape))

    def do_native_layer_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is None:
            return
        size = len(named["normalized_shape"])
        axes = range(labels.ndim - size, labels.ndim)
        rest = (
            self.ledger.tie(labels, range(labels.ndim - size))
            if size == 1 and varying(labels) == [labels.ndim - 1]
            else labels
        )
        if self.inexact and named.get("weight") is not None and varying(rest) == [labels.ndim - 1]:
            channels = rest.flatten()
            self.affine(channels, named, ("weight", "bias"))
        else:
            self.ledger.tie(labels, axes, "a LayerNorm spans its channels: removing some changes the function")
        self.put(out[0], labels)

    def do_native_group_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is None:
            return
        channels = self.ledger.tie(labels, [axis for axis in range(labels.ndim) if axis != 1]).flatten()
        self.affine(channels, named, ("weight", "bias"))
        if named.get("weight") is None:
            self.ledger.keep(channels, "a GroupNorm without parameters has a fixed size")
        self.ledger.tie(channels.view(named["group"], -1), [1], "a GroupNorm spans its channels")
        self.put(out[0], labels)

    def do_embedding(self, func, name, named, out) -> None:
        weight = self.get(named["weight"])
        if isinstance(weight, Weight):
            self.role(weight, 1, "out")
            self.put(out, weight.dims[1][0].expand(out.shape))
        elif weight is not None:
            self.stop(weight, "it is looked up")

    def role(self, weight: Weight, dim: int, role: str) -> None:
        before = self.roles.setdefault((weight.name, dim), role)
        if before != role:
            self.roles[weight.name, dim] = "carry"

    def do_convolution(self, func, name, named, out) -> None:
        x, labels = named["input"], self.plain(named["input"], name)
        weight = self.get(named["weight"])
        if not isinstance(weight, Weight):
            for part in (labels, weight):
                if part is not None:
                    self.stop(part, "a convolution's weight is computed")
            return
        groups, transposed = named["groups"], named["transposed"]
        rows, columns = (core(part).flatten() for part in weight.dims)
        channels = torch.zeros(x.size(1), dtype=torch.int32)
        if labels is not None:
            channels = self.ledger.tie(labels, [a for a in range(labels.ndim) if a != 1]).flatten()
        per_output = named["weight"][0].numel()
        self.count(weight, (x if transposed else out).numel() * per_output)
        if groups == 1:
            inputs, outputs = (rows, columns) if transposed else (columns, rows)
            self.ledger.join(channels, inputs)
            self.role(weight, 0 if transposed else 1, "in")
            self.role(weight, 1 if transposed else 0, "out")
        elif transposed:
            self.role(weight, 0, "carry")
            self.ledger.keep(columns, "it is a grouped transposed convolution")
            self.ledger.join(channels, rows)
            outputs = self.ledger.tie(rows.view(groups, -1), [1]).expand(groups, len(columns)).flatten()
        else:
            self.role(weight, 0, "carry")
            outputs = self.grouped(weight, channels, rows, columns, groups)
        if isinstance(named.get("bias"), Tensor):
            self.affine(outputs, named, ("bias",))
        self.put(out, outputs.view(-1, *[1] * (out.ndim - 2)).expand(out.shape))

    def grouped(self, weight: Weight, channels: Tensor, rows: Tensor, columns: Tensor, groups: int) -> Tensor:
        """Remove whole groups of a grouped convolution, or the same places in each of them: what gives more choice.

        Only a convolution with as many inputs as outputs per group does the latter, with one choice for both, so that
        the number of groups can be read off the shape of a pruned weight.
        """
        by_input, by_output = channels.view(groups, -1), rows.view(groups, -1)
        if by_input.size(1) == by_output.size(1) > groups:
            self.role(weight, 1, "carry")
            self.ledger.join(self.ledger.tie(by_input, [0]).flatten(), columns)
            self.ledger.join(self.ledger.tie(by_output, [0]).flatten(), columns)
        else:
            self.ledger.keep(columns, "it is the inside of a group")
            self.ledger.join(self.ledger.tie(by_input, [1]), self.ledger.tie(by_output, [1]))
        return rows

    def do_addmm(self, func, name, named, out) -> None:
        self.matmul(named["mat1"], named["mat2"], out)
        self.add_bias(named["self"], out, name)

    def do_baddbmm(self, func, name, named, out) -> None:
        self.bmm(named["batch1"], named["batch2"], out)
        self.add_bias(named["self"], out, name)

    def add_bias(self, bias: Tensor, out: Tensor, name: str) -> None:
        labels = self.combine([bias, out], out.shape, name)
        self.put(out, labels)

    def do_mm(self, func, name, named, out) -> None:
        self.matmul(named["self"], named["mat2"], out)

    def do_bmm(self, func, name, named, out) -> None:
        self.bmm(named["self"], named["mat2"], out)

    def matmul(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """A matrix product; with a weight on the right it is a linear layer."""
        weight = self.get(b)
        if not isinstance(weight, Weight):
            self.must_be_no_parameter(b)
            left = self.get(a)
            if isinstance(left, Weight):
                self.stop(left, "a weight is multiplied from the left")
                self.put(out, None)
                return
            self.bmm(a.unsqueeze(0), b.unsqueeze(0), out, [left, weight])
            return
        labels = self.plain(a, "mm")
        first, second = weight.dims
        outer, inner = (0, 1) if 0 not in varying(first) and 1 not in varying(second) else (1, 0)
        inputs, outputs = weight.dims[inner][:, 0], weight.dims[outer][0]
        channels = torch.zeros(a.size(1), dtype=torch.int32)
        if labels is not None:
            channels = self.ledger.tie(labels, [0]).flatten()
        self.ledger.join(channels, inputs)
        self.role(weight, inner, "in")
        self.role(weight, outer, "out")
        self.count(weight, a.numel() * b.size(1))
        self.put(out, outputs.expand(out.shape))

    def must_be_no_parameter(self, tensor: Tensor) -> None:
        base = tensor._base if tensor._base is not None else tensor
        name = self.names.get(id(base))
        if name is not None and base.ndim == 2 and name not in self.raw:
            raise _IsWeight(name)

    def bmm(self, a: Tensor, b: Tensor, out: Tensor, given: list | None = None) -> None:
        """A product of activations: what is summed over goes together, as a whole."""
        if given is None:
            given = [self.plain(a, "bmm"), self.plain(b, "bmm")]
        else:
            given = [g.unsqueeze(0) if g is not None else None for g in given]
        la, lb = given
        why = "it is multiplied with a constant of fixed size"
        for mine, other, summed, tensor in ((la, lb, 2, b), (lb, la, 1, a)):
            if mine is not None and other is None:
                self.ledger.fix(mine, [summed] + ([0] if tensor.size(0) > 1 else []), why)
        result = None
        if la is not None and lb is not None and (2 in varying(la) or 1 in varying(lb)):
            la, lb = self.ledger.tie(la, [1]), self.ledger.tie(lb, [2])
            self.ledger.join(la.transpose(1, 2), lb)
            result = self.ledger.tie(lb, [1], "it is summed over in a product of activations")
        else:
            la = None if la is None else la[:, :, :1]
            lb = None if lb is None else lb[:, :1]
            if la is not None and lb is not None:
                self.ledger.join(la, lb)
            parts = [part for part in (la, lb) if part is not None]
            result = max(parts, key=lambda part: len(varying(part)), default=None)
        if result is not None:
            result = result.expand(a.size(0), a.size(1), b.size(2)).reshape(out.shape)
        self.put(out, result)

    def count(self, weight: Weight, macs: int) -> None:
        if not self.macs_counted:
            self.macs[weight.name] = self.macs.get(weight.name, 0) + macs

    def unused(self) -> bool:
        """Whether some matrix had no part in the run."""
        return bool(self.matrices - {name for name, _ in self.roles})

    # -- the end -------------------------------------------------------------------------------------------------

    def finish(self, keep: Sequence[str], example_input: Any) -> Trace:
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


def _batch(example_input: Any) -> int:
    """Return the number of examples: the length of the first tensor; a list of images (detection) counts as one."""
    first = example_input
    while isinstance(first, Mapping | tuple):
        first = next(iter(first.values() if isinstance(first, Mapping) else first))
    return len(first) if isinstance(first, Tensor) and first.ndim else 1


def _twice(leaf: Any) -> Any:
    return torch.cat([leaf, leaf]) if isinstance(leaf, Tensor) and leaf.ndim else leaf


def _on_cpu(leaf: Any) -> Any:
    return leaf.cpu() if isinstance(leaf, Tensor) else leaf


def _segments(before: Sequence[int], after: Sequence[int]) -> list[list[int]]:
    """Return groups of axes of ``after`` that together hold the same elements as some axes of ``before``."""
    groups: list[list[int]] = []
    i = j = 0
    while j < len(after):
        left = before[i] if i < len(before) else 1
        right, axes = after[j], [j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right and i < len(before):
                left, i = left * before[i], i + 1
            elif j < len(after):
                right, axes, j = right * after[j], [*axes, j], j + 1
            else:
                break
        groups.append(axes)
    return groups
