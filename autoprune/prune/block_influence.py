"""How much blocks change what passes through them: ShortGPT's block influence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.prune.blocks import Block
from autoprune.prune.graph.trace import tensors
from autoprune.task.task import Task


@torch.no_grad()
def block_influence(task: Task, model: nn.Module, blocks: Sequence[Block], batches: Iterable) -> dict[str, float]:
    """Return one less the mean cosine between what enters a block and what leaves it, by its name; forward passes only.

    A block of little influence is dispensable (Men et al. 2024, ShortGPT). Vectors lie along the last axis, of images
    along the channels.

    Args:
        batches: a few hundred examples are enough.
    """
    sums = {block.name: [0.0, 0] for block in blocks}

    def look(name: str, before: Tensor, after: Tensor) -> None:
        cosine = F.cosine_similarity(before.double(), after.double(), dim=1 if before.ndim == 4 else -1)
        sums[name][0] += float((1 - cosine).sum())
        sums[name][1] += cosine.numel()

    def entered(positional: tuple, named: dict) -> Tensor:
        return next(each for each in (*positional, *named.values()) if isinstance(each, Tensor))

    hooks = [
        model.get_submodule(block.name).register_forward_hook(
            lambda layer, given, named, out, name=block.name: look(name, entered(given, named), tensors(out)[0]),
            with_kwargs=True,
        )
        for block in blocks
    ]
    try:
        for batch in batches:
            task.run(model.eval(), batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / max(1, count) for name, (total, count) in sums.items()}
