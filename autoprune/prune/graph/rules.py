"""Rules for operations that move, cut, join or reduce elements."""

# ruff: noqa: D102 (a rule is named after its operation)
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from autoprune.prune.graph import propagation
from autoprune.prune.graph.labels import compact, core, varying
from autoprune.prune.graph.propagation import LabelPropagator, Weight

MOVES = frozenset(
    {"permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "flip", "repeat", "unfold", "alias", "detach"}
    | {
        "select",
        "slice",
        "split",
        "unsafe_split",
        "split_with_sizes",
        "unbind",
        "roll",
        "index",
        "index_select",
        "lift_fresh",
    }
)
VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias"})
SPATIAL = ("max_pool", "avg_pool", "adaptive", "upsample", "reflection_pad", "replication_pad")
REDUCTIONS = frozenset(
    {"sum", "mean", "amax", "amin", "var", "std", "var_mean", "prod", "max", "min", "argmax", "argmin"}
    | {"logsumexp", "linalg_vector_norm", "norm", "any", "all", "median"}
)
ALONG = frozenset({"_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "logcumsumexp"})


class Moves(LabelPropagator):
    """What happens to labels when elements move."""

    def rule(self, func, name: str) -> Callable:
        """Return the rule for an operation."""
        if hasattr(self, f"do_{name}"):
            return super().rule(func, name)
        if name in VIEWS:
            return self.view
        if name in MOVES:
            return self.move
        if name in REDUCTIONS:
            return self.reduce
        if name in ALONG:
            return self.along
        if any(part in name for part in SPATIAL):
            return self.spatial
        return super().rule(func, name)

    def reshaped(self, labels: Tensor, shape: torch.Size) -> Tensor | None:
        if tuple(labels.shape) == tuple(shape):
            return labels
        if shape.numel() > propagation.LIMIT:
            self.couplings.keep(labels, f"following it would need more than {propagation.LIMIT * 4 // 10**6} MB")
            return None
        moved = compact(labels.reshape(shape))
        for axes in _segments(labels.shape, shape):
            changing = [axis for axis in axes if axis in varying(moved)]
            if len(changing) > 1:
                self.couplings.split(moved, changing)
        return moved

    def view(self, func, name, named, out) -> None:
        labels = self.get(named["self"])
        if isinstance(labels, Weight):
            first, second = (self.reshaped(part, out.shape) for part in labels.dims)
            self.put(out, None if first is None or second is None else Weight(labels.name, (first, second)))
        elif labels is not None:
            self.put(out, self.reshaped(labels, out.shape))
        else:
            self.copies.moved(named["self"], out, lambda numbers: numbers.reshape(out.shape))

    def move(self, func, name, named, out) -> None:
        labels = self.get(named["self"])
        rest = {key: tree_map(_on_cpu, value) for key, value in named.items() if key != "self"}
        if labels is None:
            if name == "expand":
                self.copies.expanded(named["self"], out)
            elif isinstance(out, Tensor):
                self.copies.moved(named["self"], out, lambda numbers: func(numbers, **rest))
            return
        parts = labels.dims if isinstance(labels, Weight) else (labels,)
        for part in parts:
            self.before_move(name, named, part)
        moved = [func(part, **rest) for part in parts]
        outs = out if isinstance(out, list | tuple) else [out]
        for i, tensor in enumerate(outs):
            pieces = [compact(m[i] if isinstance(m, list | tuple) else m) for m in moved]
            self.put(tensor, Weight(labels.name, (pieces[0], pieces[1])) if isinstance(labels, Weight) else pieces[0])

    def before_move(self, name: str, named: dict, labels: Tensor) -> None:
        """Note what a piece cut out at a fixed place asks of the axis it is cut from."""
        dim = named.get("dim", 0)
        if name in ("select", "unbind"):
            self.couplings.fix(labels, [dim], "one of its channels is picked by number")
        elif name in ("split", "unsafe_split", "split_with_sizes", "slice"):
            size = labels.size(dim)
            if name.endswith("split"):
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
            if length == size or self.is_cut_by_heads(labels, dim):
                return
            if dim % labels.ndim not in varying(labels):
                return
            if length > 0 and size % length == 0 and start % length == 0:
                self.couplings.tie(
                    labels.unflatten(dim, (-1, length)), [dim % labels.ndim], "it is cut into equal pieces"
                )
            else:
                self.couplings.fix(labels, [dim], "it is cut at a fixed place")
        elif name == "index":
            axes = [i for i, x in enumerate(named["indices"]) if x is not None]
            if len(axes) != 1 or not self.is_cut_by_heads(labels, axes[0]):
                self.couplings.fix(labels, axes, "its channels are indexed")
        elif name in ("index_select", "unfold"):
            self.couplings.fix(labels, [named.get("dim", named.get("dimension", 0))], "its channels are indexed")
        elif name == "roll":
            self.couplings.fix(labels, named.get("dims") or range(labels.ndim), "its channels are rolled")

    def do_topk(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is not None:
            self.stop(labels, "the largest of its channels are chosen")
        self.nothing(func, name, named, out)

    def do_gather(self, func, name, named, out) -> None:
        labels, index, dim = self.plain(named["self"], name), named["index"], named["dim"] % max(out.ndim, 1)
        if labels is None:
            return
        labels = self.couplings.tie(labels, [dim], "its channels are gathered")
        wide = [axis for axis, size in enumerate(index.shape) if size > 1 or labels.size(axis) > 1]
        wide = [axis for axis in wide if axis != dim and not self.copies.follow(index, labels, axis)]
        self.couplings.fix(labels, wide, "it is gathered by indices of fixed size")
        for axis, size in enumerate(out.shape):
            labels = labels.narrow(axis, 0, 1 if axis == dim else size)
        self.put(out, labels.expand(out.shape))

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
                    self.couplings.fix(other, wide, "it is concatenated with a constant")
                labels = torch.zeros((1,) * out.ndim, dtype=torch.int32).expand(piece.shape)
            elif varying(labels) and dim not in varying(labels):
                # pieces share all other axes, so what goes from one piece goes from each
                first = labels.narrow(dim, 0, 1)
                if leader is None:
                    leader = first
                else:
                    self.couplings.join(leader, first)
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
            channels = self.couplings.tie(labels, [labels.ndim - 2, labels.ndim - 1])
            channels = channels.unflatten(-3, (-1, named["upscale_factor"] ** 2))
            self.put(out, self.couplings.tie(channels, [labels.ndim - 2]).squeeze(-3).expand(out.shape))

    def do_constant_pad_nd(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is None:
            return
        pad = [(0, 0)] * (out.ndim - len(named["pad"]) // 2)
        pad += list(zip(named["pad"][::2], named["pad"][1::2], strict=True))[::-1]
        changing = varying(labels)
        self.couplings.fix(labels, [a for a in changing if min(pad[a]) < 0], "its channels are cut at a fixed place")
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
        known = re.search(r"([123])d", name)
        dims = int(known[1]) if known else source.ndim - 2
        flat = self.couplings.tie(labels, range(source.ndim - dims, source.ndim))
        for leaf in tree_leaves(out):
            self.put(leaf, flat.expand(leaf.shape))

    def do_roi_align(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is not None:
            self.put(out, self.couplings.tie(labels, [0, 2, 3]).expand(out.shape))

    do_roi_pool = do_roi_align

    def reduce(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is None:
            return
        dims = named.get("dim")
        dims = range(labels.ndim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        dims = sorted({dim % labels.ndim for dim in dims}) if labels.ndim else []
        if name == "sum" and varying(labels) and set(varying(labels)) <= set(dims):
            self.nothing(func, name, named, out)  # zeros add nothing, as in a matrix product
            return
        if name == "mean" and named.get("keepdim") and dims == [labels.ndim - 1] and self.normed(labels) is not None:
            self.put(out, None)  # of an RMSNorm: the same for all channels
            return
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
                self.pending[leaf] = lambda: self.couplings.tie(labels, dims, f"a {name} over its channels")

    def along(self, func, name, named, out) -> None:
        labels = self.plain(named["self"], name)
        if labels is not None:
            self.put(
                out,
                self.couplings.tie(labels, [named["dim"]], f"a {name.strip('_')} over its channels").expand(out.shape),
            )


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
