"""Gates that learn to close: L0 regularisation with hard-concrete gates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoprune.base.tree import device_of
from autoprune.errors import UserError
from autoprune.prune.criteria.base import Criterion, Request
from autoprune.prune.criteria.slim import scales
from autoprune.prune.groups import Group, Slice
from autoprune.train import loop


@dataclass(frozen=True)
class L0(Criterion):
    """Train with one gate on each channel, under a penalty on gates that are open, and score channels by their gates.

    The gates as they end are folded into the weights.

    Args:
        temperature: of the hard-concrete distribution; the paper's, as are the next two.
        low: the distribution is stretched to [low, high] and clipped to [0, 1], so that gates close entirely.
        high: its upper end.
        penalty: on the mean chance that a gate is open.
        learning_rate: of the gates, by Adam.
    """

    temperature: float = 2 / 3
    low: float = -0.1
    high: float = 1.1
    penalty: float = 1.0
    learning_rate: float = 0.05

    granularity = "channel"
    paper = "Louizos et al. 2018, Learning Sparse Neural Networks through L0 Regularization"
    needs = ("data", "gradients", "training")

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return how far the gates are open, before the sigmoid."""
        context, model, device = request.need(), request.model, device_of(request.model)
        openness = {
            group.name: nn.Parameter(
                (2 + 0.01 * torch.randn(group.channels, generator=request.generator("l0 gates", group.name))).to(device)
            )
            for group in request.groups
        }
        optimizer = torch.optim.Adam(openness.values(), self.learning_rate)

        def penalty() -> Tensor:
            return self.penalty * torch.stack([self._chance_open(value).mean() for value in openness.values()]).mean()

        def learn_gates() -> None:
            optimizer.step()
            optimizer.zero_grad()

        recipe = replace(context.task.recovery, steps=context.steps, bn_reestimation=0)
        with self._gates(request, openness):
            loop.train(
                context.task, model, context.train, recipe, context.seed, before_step=learn_gates, penalty=penalty
            )
        with torch.no_grad():
            for group in request.groups:
                for part in _gated(model, group):
                    gate = _at_each_position(self._stretch(openness[group.name].sigmoid()), part)
                    weight: Tensor = model.get_parameter(part.parameter)
                    bias = dict(model.get_submodule(part.layer).named_parameters(recurse=False)).get("bias")
                    weight.mul_(gate.view([-1 if dim == part.dim else 1 for dim in range(weight.dim())]))
                    if bias is not None:
                        bias.mul_(gate)
        return {name: value.detach() for name, value in openness.items()}

    @contextmanager
    def _gates(self, request: Request, openness: dict[str, nn.Parameter]) -> Iterator[None]:
        """Put gates, sampled anew for each forward pass and shared by all layers of a group, after its layers."""
        sampled: dict[str, Tensor] = {}
        samples = request.generator("l0 samples")

        def sample(*_) -> None:
            for name, value in openness.items():
                uniform = torch.rand(len(value), generator=samples).clamp(1e-6, 1 - 1e-6).to(value.device)
                sampled[name] = self._stretch(((uniform.logit() + value) / self.temperature).sigmoid())

        reached = set()
        hooks = [request.model.register_forward_pre_hook(sample)]
        for group in request.groups:
            for part in _gated(request.model, group):

                def multiply(layer: nn.Module, _, output: Tensor, name: str = group.name, part: Slice = part) -> Tensor:
                    reached.add(name)
                    dim = -1 if isinstance(layer, nn.Linear) else 1
                    return (output.movedim(dim, -1) * _at_each_position(sampled[name], part)).movedim(-1, dim)

                hooks.append(request.model.get_submodule(part.layer).register_forward_hook(multiply))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        for group in request.groups:
            if group.name not in reached:
                raise UserError(f"criterion l0's gates on {group.name} are never passed: use another criterion")

    def _stretch(self, gate: Tensor) -> Tensor:
        return (gate * (self.high - self.low) + self.low).clamp(0, 1)

    def _chance_open(self, openness: Tensor) -> Tensor:
        return (openness - self.temperature * torch.tensor(-self.low / self.high).log()).sigmoid()


def _gated(model: nn.Module, group: Group) -> list[Slice]:
    """Return where the gates stand: after batch norm, which would undo a gate before it; else after the layers.

    Raises:
        UserError: the channels are not the outputs of a layer.
    """
    parts = scales(model, group) or [part for part in group.slices if part.role == "out"]
    for part in parts:
        layer = model.get_submodule(part.layer)
        if not isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.modules.conv._ConvNd | nn.Linear):
            raise UserError(f"criterion l0 finds no place for gates on {group.name}: use another criterion")
    return parts


def _at_each_position(gates: Tensor, part: Slice) -> Tensor:
    """Return each position's gate; 1 where another group's channels are."""
    return torch.cat([gates, gates.new_ones(1)])[part.unit.long().to(gates.device)]


L0_GATES = L0()
