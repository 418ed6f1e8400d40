"""What a criterion is, and what it is given to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import Tensor, nn
from torch.utils.data import Dataset

from autoprune import training
from autoprune.errors import UserError
from autoprune.pruning.groups import Group
from autoprune.task import Task


@dataclass(frozen=True)
class Context:
    """What criteria that look at data, gradients or training may use; the others ignore it.

    Args:
        task: gives the loss, the example input, and the recipe that criteria train by.
        train: the training split.
        seed: order of the batches, random choices.
        steps: optimiser steps that a criterion which trains may take.
        batches: batches that a criterion which only looks may look at.
    """

    task: Task
    train: Dataset
    seed: int = 0
    steps: int = 100
    batches: int = 8


@dataclass(frozen=True)
class Request:
    """What a criterion scores.

    Args:
        model: the network; a criterion that trains does so in place.
        groups: the groups from which something is to go.
        sparsity: the fraction that is to go, by group name.
        context: the data, or None.
    """

    model: nn.Module
    groups: tuple[Group, ...]
    sparsity: Mapping[str, float]
    context: Context | None = None

    def layers(self) -> Iterator[tuple[Group, str, nn.Module]]:
        """Iterate over the layers whose weights are judged: each group's producers."""
        for group in self.groups:
            for name in group.producers:
                yield group, name, self.model.get_submodule(name)

    def need(self) -> Context:
        """Return the context.

        Raises:
            UserError: there is none.
        """
        if self.context is None:
            raise UserError("this criterion looks at data: give it a Context(task, data.train)")
        return self.context

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the few training batches that may be looked at."""
        context = self.need()
        size = context.task.recovery.batch_size
        yield from islice(training.endless_batches(context.train, size, context.seed), context.batches)


@dataclass(frozen=True)
class Criterion:
    """A way to choose what goes.

    Args:
        score: gives everything that could go a score; the lowest goes first. Of a channel criterion one score per
            channel, by group name; else one per weight, by parameter name (a tensor of the weight's shape, with a 1 in
            each dimension that goes as a whole).
        granularity: what goes as a whole. Whole channels make the network smaller, all else sets weights to zero.
        paper: where it is from.
        needs: what it looks at beside the weights.
        scope: whether each layer loses the fraction asked of it, or only the network the number of weights asked of
            it in all, the weakest anywhere.
    """

    score: Callable[[Request], dict[str, Tensor]]
    granularity: Literal["channel", "weight", "kernel", "2:4"]
    paper: str
    needs: tuple[Literal["data", "gradients", "training"], ...] = ()
    scope: Literal["layer", "network"] = "layer"

    @property
    def structured(self) -> bool:
        """Whether whole channels go."""
        return self.granularity == "channel"


def output_rows(layer: nn.Module, weight: Tensor) -> Tensor:
    """Return ``weight``, of the shape of ``layer.weight``, as a matrix with one row for each output channel."""
    return (weight.transpose(0, 1) if getattr(layer, "transposed", False) else weight).flatten(1)


def per_channel(group: Group, values: Tensor) -> Tensor:
    """Sum one value per output of a layer to one per channel of its group (an attention head has many outputs)."""
    return values.reshape(group.channels, -1).sum(1)
