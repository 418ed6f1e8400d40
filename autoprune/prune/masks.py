"""Dynamic sparse training: while a sparse network trains, its weakest weights die and others grow in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from autoprune.base import streams


class DynamicMasks:
    """Masks that move about during training and keep the number of weights of each layer.

    Args:
        model: the network, masked from now on.
        masks: where it starts, by parameter name.
        grow: where weights come back: at random (SET, Mocanu et al. 2018), or where the gradient is largest (RigL,
            Evci et al. 2020).
        steps: of the whole training. Masks move every twentieth of it, until three quarters of it are over, so that the
            last weights to come have time to learn.
        fraction: of each layer's weights that move at first; it decays to nothing over a half cosine (RigL).
        seed: of the random choices.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Mapping[str, Tensor],
        grow: Literal["random", "gradient"],
        steps: int,
        fraction: float = 0.3,
        seed: int = 0,
    ) -> None:
        self.masks = {name: mask.clone() for name, mask in masks.items()}
        self.moved = 0
        self._weights = {name: model.get_parameter(name) for name in masks}
        self._grow, self._fraction = grow, fraction
        self._every, self._end, self._step = max(1, steps // 20), 0.75 * steps, 0
        self._chance = streams.generator(seed, "where weights grow")
        self.after_step()

    @torch.no_grad()
    def before_step(self) -> None:
        """Move the masks if it is time, and take pruned weights out of the gradients and so out of the momentum."""
        self._step += 1
        if self._step % self._every == 0 and self._step < self._end:
            fraction = self._fraction / 2 * (1 + math.cos(math.pi * self._step / self._end))
            for name in self.masks:
                self._move(name, fraction)
        for name, mask in self.masks.items():
            _gradient(self._weights[name]).mul_(mask)

    @torch.no_grad()
    def after_step(self) -> None:
        """Hold the pruned weights at zero."""
        for name, mask in self.masks.items():
            self._weights[name].mul_(mask)

    def _move(self, name: str, fraction: float) -> None:
        weight, mask = self._weights[name], self.masks[name]
        alive = mask.flatten().bool()
        count = min(int(fraction * alive.sum()), int((~alive).sum()))
        dying = weight.abs().flatten().masked_fill(~alive, math.inf).topk(count, largest=False).indices
        if self._grow == "gradient":
            promise = _gradient(weight).abs().flatten()
        else:
            promise = torch.rand(alive.numel(), generator=self._chance).to(mask.device)
        growing = promise.masked_fill(alive, -1.0).topk(count).indices
        mask.view(-1)[dying] = 0
        mask.view(-1)[growing] = 1
        weight.mul_(mask)  # those that grow are at zero already
        self.moved += count


def _gradient(weight: nn.Parameter) -> Tensor:
    assert weight.grad is not None  # it is asked for between the backward pass and the step
    return weight.grad
