"""Channels that are seldom or weakly active on the training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.prune.criteria.base import Criterion, Request, per_unit
from autoprune.prune.graph.experts import are_experts
from autoprune.prune.groups import Group, Slice


def active(x: Tensor) -> Tensor:
    """Return 1 for each activation above zero, whose mean is 1 - APoZ (the average percentage of zeros)."""
    return (x > 0).float()


@dataclass(frozen=True)
class Activations(Criterion):
    """Score each channel by the mean of a statistic of its activations on training data.

    Args:
        statistic: of activations, elementwise.
        paper: where it is from.
        batches: training batches to look at; if None as many as the context says.
    """

    statistic: Callable[[Tensor], Tensor]
    paper: str
    batches: int | None = None

    granularity = "channel"
    needs = ("data",)

    @torch.no_grad()
    def score(self, request: Request) -> dict[str, Tensor]:
        """Return the mean of the statistic over what arrives at the layers that read each channel.

        Of a channel that no layer reads as a module's input, over what leaves its own layers, as a ReLU would pass it
        on.

        Raises:
            UserError: the model uses the weights of the layers on both sides without calling the layers.
        """
        read, written = ({group.name: torch.zeros(group.channels) for group in request.groups} for _ in range(2))
        hooks, seen = [], set()

        def record(sums: dict[str, Tensor], group: Group, part: Slice, x: Tensor) -> None:
            dim = 1 if isinstance(request.model.get_submodule(part.layer), nn.modules.conv._ConvNd) else -1
            if x.shape[dim] == len(part.unit):
                seen.add(group.name)
                sums[group.name] += per_unit(group, part, self.statistic(x).movedim(dim, 0).flatten(1).mean(1))

        for group in request.groups:
            for part in group.slices:
                layer = dict(request.model.named_modules()).get(part.layer)
                if layer is None or are_experts(layer):  # what enters experts is not what their second matrix reads
                    continue
                if part.role == "in":
                    hooks.append(
                        layer.register_forward_pre_hook(lambda _, x, g=group, p=part: record(read, g, p, x[0]))
                    )
                if part.role == "out":
                    hooks.append(
                        layer.register_forward_hook(
                            lambda _, x, y, g=group, p=part: (
                                record(written, g, p, y.relu()) if torch.is_tensor(y) else None
                            )
                        )
                    )
        try:
            request.model.eval()
            for batch in request.batches(self.batches):
                request.need().task.run(request.model, batch)
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


APOZ = Activations(active, "Hu et al. 2016, Network Trimming: A Data-Driven Neuron Pruning Approach")
MEAN_ACTIVATION = Activations(
    torch.abs, "mean activation, a criterion compared by Molchanov et al. 2017, Pruning Convolutional Neural Networks"
)
