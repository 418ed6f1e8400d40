"""Channels that are seldom or weakly active on the training data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoprune.pruning.criteria.base import Criterion, Request
from autoprune.pruning.groups import Group


def apoz(request: Request) -> dict[str, Tensor]:
    """Score each channel by the fraction of its activations that are above zero: 1 - APoZ."""
    return _mean_over_data(request, lambda x: (x > 0).float())


def mean_activation(request: Request) -> dict[str, Tensor]:
    """Score each channel by the mean magnitude of its activations."""
    return _mean_over_data(request, torch.abs)


@torch.no_grad()
def _mean_over_data(request: Request, statistic: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    sums = {group.name: torch.zeros(group.channels) for group in request.groups}
    hooks = []
    for group in request.groups:
        readers = [layer for name in group.consumers if _reads_only(layer := request.model.get_submodule(name), group)]

        def record(
            layer: nn.Module, inputs: tuple[Tensor, ...], group: Group = group, share: int = len(readers)
        ) -> None:
            x = statistic(inputs[0])
            dim = 1 if _is_convolution(layer) else -1
            x = x.movedim(dim, 0).flatten(1).mean(1)  # of each input of the layer
            sums[group.name] += x.view(group.channels, -1).mean(1) / share

        hooks += [layer.register_forward_pre_hook(record) for layer in readers]
        if not readers:  # a concatenation lies between: look at what the layers put out, as a ReLU would see it
            hooks += [_watch_outputs(request.model, group, statistic, sums)]
    try:
        request.model.eval()
        for x, _ in request.batches():
            request.model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def _reads_only(layer: nn.Module, group: Group) -> bool:
    """Whether the layer's input is the group's channels and nothing else."""
    if _is_convolution(layer):
        return layer.in_channels == group.channels
    return isinstance(layer, nn.Linear) and layer.in_features % group.channels == 0


def _watch_outputs(model: nn.Module, group: Group, statistic: Callable[[Tensor], Tensor], sums: dict[str, Tensor]):
    layer = model.get_submodule(group.name)

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = statistic(output.relu()).movedim(1 if _is_convolution(layer) else -1, 0).flatten(1).mean(1)
        sums[group.name] += x.view(group.channels, -1).mean(1)

    return layer.register_forward_hook(record)


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.conv._ConvNd)


APOZ = Criterion(
    apoz, "channel", "Hu et al. 2016, Network Trimming: A Data-Driven Neuron Pruning Approach", needs=("data",)
)
MEAN_ACTIVATION = Criterion(
    mean_activation,
    "channel",
    "mean activation, a criterion compared by Molchanov et al. 2017, Pruning Convolutional Neural Networks",
    needs=("data",),
)
