"""Rules for layers: convolutions, matrix products, norms, embeddings."""

# ruff: noqa: D102 (a rule is named after its operation)
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from autoprune.prune.graph.labels import core, varying
from autoprune.prune.graph.propagation import IsMatrix, LabelPropagator, Weight


class Layers(LabelPropagator):
    """Where labels begin and end: at the weights of layers."""

    def rule(self, func, name: str) -> Callable:
        """Return the rule for an operation."""
        return self.batch_norm if "batch_norm" in name else super().rule(func, name)

    def affine(self, channels: Tensor, named: dict, names: Sequence[str]) -> None:
        for key in names:
            tensor = named.get(key)
            if isinstance(tensor, Tensor):
                own = self.plain(tensor, "a norm")
                if own is None:
                    self.couplings.keep(channels, "a norm has fixed parameters")
                else:
                    self.couplings.join(channels.reshape(own.shape), own)

    def batch_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        outs = out if isinstance(out, list | tuple) else [out]
        if labels is None:
            return
        axes = [axis for axis in range(labels.ndim) if axis != 1]
        channels = self.couplings.tie(labels, axes)
        self.affine(channels.flatten(), named, ("weight", "bias", "running_mean", "running_var"))
        self.put(outs[0], channels.expand(outs[0].shape))

    def do_native_layer_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is None:
            return
        size = len(named["normalized_shape"])
        channels = self.normed(labels) if size == 1 and named.get("weight") is not None else None
        if channels is not None:
            self.affine(channels.flatten(), named, ("weight", "bias"))
        else:
            axes = range(labels.ndim - size, labels.ndim)
            self.couplings.tie(labels, axes, "a LayerNorm spans its channels: removing some changes the function")
        self.put(out[0], labels)

    def do_native_group_norm(self, func, name, named, out) -> None:
        labels = self.plain(named["input"], name)
        if labels is None:
            return
        channels = self.couplings.tie(labels, [axis for axis in range(labels.ndim) if axis != 1]).flatten()
        self.affine(channels, named, ("weight", "bias"))
        if named.get("weight") is None:
            self.couplings.keep(channels, "a GroupNorm without parameters has a fixed size")
        self.couplings.tie(channels.view(named["group"], -1), [1], "a GroupNorm spans its channels")
        self.put(out[0], labels)

    def do_embedding(self, func, name, named, out) -> None:
        weight = self.get(named["weight"])
        if isinstance(weight, Weight):
            self.role(weight, 1, "out")
            self.put(out, weight.dims[1][0].expand(out.shape))
        elif weight is not None:
            self.stop(weight, "it is looked up")

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
            channels = self.couplings.tie(labels, [a for a in range(labels.ndim) if a != 1]).flatten()
        per_output = named["weight"][0].numel()
        self.count(weight, (x if transposed else out).numel() * per_output)
        if groups == 1:
            inputs, outputs = (rows, columns) if transposed else (columns, rows)
            self.couplings.join(channels, inputs)
            self.role(weight, 0 if transposed else 1, "in")
            self.role(weight, 1 if transposed else 0, "out")
        elif transposed:
            self.role(weight, 0, "carry")
            self.couplings.keep(columns, "it is a grouped transposed convolution")
            self.couplings.join(channels, rows)
            outputs = self.couplings.tie(rows.view(groups, -1), [1]).expand(groups, len(columns)).flatten()
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
            self.couplings.join(self.couplings.tie(by_input, [0]).flatten(), columns)
            self.couplings.join(self.couplings.tie(by_output, [0]).flatten(), columns)
        else:
            self.couplings.keep(columns, "it is the inside of a group")
            self.couplings.join(self.couplings.tie(by_input, [1]), self.couplings.tie(by_output, [1]))
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
            channels = self.couplings.tie(labels, [0]).flatten()
        self.couplings.join(channels, inputs)
        self.role(weight, inner, "in")
        self.role(weight, outer, "out")
        self.count(weight, a.numel() * b.size(1))
        self.put(out, outputs.expand(out.shape))

    def must_be_no_parameter(self, tensor: Tensor) -> None:
        base = tensor._base if tensor._base is not None else tensor
        name = self.names.get(id(base))
        if name is not None and base.ndim == 2 and name not in self.raw:
            raise IsMatrix(name)

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
                self.couplings.fix(mine, [summed] + ([0] if tensor.size(0) > 1 else []), why)
        result = None
        if la is not None and lb is not None and (2 in varying(la) or 1 in varying(lb)):
            result = self.summed(la.transpose(1, 2), lb)
        else:
            la = None if la is None else la[:, :, :1]
            lb = None if lb is None else lb[:, :1]
            result = self.together(la, lb) if la is not None and lb is not None else lb if la is None else la
        if result is not None:
            result = result.expand(a.size(0), a.size(1), b.size(2)).reshape(out.shape)
        self.put(out, result)

    def summed(self, la: Tensor, lb: Tensor) -> Tensor:
        """Join factors along what is summed over, axis 1 of both; return the labels of the product.

        Where one of them carries channels along its other axis as well, as the states of Mamba, these can go one by
        one, and what is summed over stays.
        """
        why = "it is summed over in a product of activations"
        rows, columns = 2 in varying(la), 2 in varying(lb)
        if rows != columns:
            wide, shared = (la, lb) if rows else (lb, la)
            self.couplings.spread(shared.narrow(2, 0, 1), wide)
            result = self.couplings.tie(wide, [1], why)
            return result.transpose(1, 2) if rows else result
        parts = [self.couplings.tie(part, [2]) for part in (la, lb)]
        results = [self.couplings.tie(part, [1], why) for part in parts]
        self.together(*parts)
        return self.together(*results)

    def together(self, a: Tensor, b: Tensor) -> Tensor:
        """Join labels of two factors, one of which may be shared by the heads of the other; return those of the heads.

        The keys and values of multi-query attention (Shazeer 2019) are.
        """
        if (0 in varying(a)) == (0 in varying(b)):
            self.couplings.join(a, b)
            return max((a, b), key=lambda part: len(varying(part)))
        heads, shared = (a, b) if 0 in varying(a) else (b, a)
        self.couplings.spread(shared, heads)
        return heads
