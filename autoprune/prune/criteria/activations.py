"""Channels that are seldom or weakly active on the training data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.prune.criteria.base import Criterion, Request, per_unit
from autoprune.prune.groups import Group, Slice


def apoz(request: Request) -> dict[str, Tensor]:
    """Score each channel by the fraction of its activations that are above zero: 1 - APoZ."""
    return _mean_over_data(request, lambda x: (x > 0).float())


def mean_activation(request: Request) -> dict[str, Tensor]:
    """Score each channel by the mean magnitude of its activations."""
    return _mean_over_data(request, torch.abs)


@torch.no_grad()
def _mean_over_data(request: Request, statistic: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return the mean of ``statistic`` over what arrives at the layers that read each channel.

    Of a channel that no layer reads as a module's input, over what leaves its own layers, as a ReLU would pass it on.

    Raises:
        UserError: the model uses the weights of the layers on both sides without calling the layers.
    """
    read, written = ({group.name: torch.zeros(group.channels) for group in request.groups} for _ in range(2))
    hooks, seen = [], set()

    def record(sums: dict[str, Tensor], group: Group, part: Slice, x: Tensor) -> None:
        dim = 1 if isinstance(request.model.get_submodule(part.layer), nn.modules.conv._ConvNd) else -1
        if x.shape[dim] == len(part.unit):
            seen.add(group.name)
            sums[group.name] += per_unit(group, part, statistic(x).movedim(dim, 0).flatten(1).mean(1))

    for group in request.groups:
        for part in group.slices:
            layer = dict(request.model.named_modules()).get(part.layer)
            if layer is not None and part.role == "in":
                hooks.append(
                    layer.register_forward_pre_hook(lambda _, x, g=group, p=part: record(read, g, p, x[0]) or None)
                )
            if layer is not None and part.role == "out":
                hooks.append(
                    layer.register_forward_hook(
                        lambda _, x, y, g=group, p=part: record(written, g, p, y.relu()) if torch.is_tensor(y) else None
                    )
                )
    try:
        request.model.eval()
        for x, _ in request.batches():
            request.model(x)
    finally:
        for hook in hooks:
            hook.remove()
    for group in request.groups:
        if group.name not in seen:
            raise UserError(
                f"the activations of {group.name} cannot be seen: no layer that writes or reads them is called; "
                "use another criterion"
            )
    return {name: sums if sums.any() else written[name] for name, sums in read.items()}


APOZ = Criterion(
    apoz, "channel", "Hu et al. 2016, Network Trimming: A Data-Driven Neuron Pruning Approach", needs=("data",)
)
MEAN_ACTIVATION = Criterion(
    mean_activation,
    "channel",
    "mean activation, a criterion compared by Molchanov et al. 2017, Pruning Convolutional Neural Networks",
    needs=("data",),
)
