"""Random weights and random inputs: what a network must be given before a comparison of two versions proves anything.

A network straight from its constructor has biases of zero, norms that do nothing, layer scales of 1e-6; a trained one
may have a norm of zero at the end of a branch. On an example of zeros, or behind such a layer, any two networks agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

POOL = 131_071
"""Random numbers that are drawn; large weights repeat them. A prime, so that no two rows are alike."""


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter of ``model``, in place, and the statistics of its norms, random values of healthy size.

    Matrices and kernels keep the size of the signal, scales lie in [0.5, 1.5], biases have a deviation of 0.1. Other
    buffers (masks, indices, tables of positions) stay. Returns ``model``. The global generator is not touched.
    """
    generator = torch.Generator().manual_seed(seed)
    pool, at = torch.randn(POOL, generator=generator), 0

    def normal(tensor: Tensor, deviation: float) -> None:
        nonlocal at
        flat = tensor.view(-1) if tensor.is_contiguous() else torch.empty(tensor.numel())
        done = 0
        while done < len(flat):
            size = min(POOL - at, len(flat) - done)
            flat[done : done + size].copy_(pool[at : at + size]).mul_(deviation)
            at, done = (at + size) % POOL, done + size
        if not tensor.is_contiguous():
            tensor.copy_(flat.view(tensor.shape))

    def scale(tensor: Tensor) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)

    filled: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in filled or not parameter.is_floating_point():
                continue
            filled.add(id(parameter))
            wide = [size for size in parameter.shape if size > 1]
            if isinstance(module, nn.Embedding):
                normal(parameter, 1.0)
            elif "bias" in name and len(wide) < 2:
                normal(parameter, 0.1)
            elif len(wide) < 2:  # of a norm, or a layer scale
                scale(parameter)
            else:
                inputs = parameter[0].numel() if isinstance(module, _ConvNd) else wide[-1]
                normal(parameter, math.sqrt(1.5 / inputs))
        for name, buffer in module.named_buffers(recurse=False):
            if not buffer.is_floating_point():
                continue
            if name == "running_mean" or (name == "bias" and buffer.ndim == 1):  # the latter of a frozen norm
                normal(buffer, 0.1)
            elif name == "running_var" or (name == "weight" and buffer.ndim == 1):
                scale(buffer)
    return model


def random_input(model: nn.Module, example_input: Any, seed: int = 0) -> Any:
    """Return random numbers of the example's structure, shapes, types and devices.

    Floats are drawn from the normal distribution, integers within the range that the example shows (if it shows one
    value only, within the smallest embedding of ``model``). Masks, booleans and single numbers stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    words = min((layer.num_embeddings for layer in model.modules() if isinstance(layer, nn.Embedding)), default=0)

    def draw(name: str, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.numel() or not leaf.ndim or "mask" in name:
            return leaf
        if leaf.dtype == torch.bool or leaf.is_complex():
            return leaf
        if leaf.is_floating_point():
            mask = not leaf.isfinite().all() or leaf.min() <= -1e30
            return leaf if mask else torch.randn(leaf.shape, generator=generator).to(leaf)
        low, high = int(leaf.min()), int(leaf.max())
        if low == high and leaf.dtype == torch.uint8:  # an image
            low, high = 0, 255
        elif low == high and 0 <= low < words:
            low, high = 0, words - 1
        return torch.randint(low, high + 1, leaf.shape, generator=generator).to(leaf)

    if isinstance(example_input, Mapping):
        return {name: tree_map(partial(draw, str(name)), value) for name, value in example_input.items()}
    return tree_map(partial(draw, ""), example_input)


class NoChance(TorchDispatchMode):
    """Takes randomness out of a run: random numbers are at their mean, so dropout passes all, whatever its width."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run one operation."""
        name = func._schema.name.split("::")[1]
        if name in ("native_dropout", "_fused_dropout"):
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        out = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and isinstance(out, Tensor):
            if name.startswith("bernoulli"):
                probability = args[1] if len(args) > 1 else 0.5 if name.endswith("_") else args[0]
                out.copy_(torch.as_tensor(probability))
            elif name.startswith(("randn", "normal")):
                out.zero_()
            elif name in ("rand", "rand_like", "uniform_"):
                out.fill_(0.5)
        return out
