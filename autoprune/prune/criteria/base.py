"""What a criterion is, and what it is given to judge by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autoprune.base import streams
from autoprune.base.tree import device_of, to_device
from autoprune.errors import UserError
from autoprune.prune.groups import Group, Slice
from autoprune.task.task import Data, Task
from autoprune.train import loading


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
    train: Data
    seed: int = 0
    steps: int = 100
    batches: int = 8


@dataclass(frozen=True)
class Request:
    """What a criterion scores.

    Args:
        model: the criterion's own copy of the network, in evaluation mode: it may do with it as it likes.
        groups: the groups from which something is to go.
        sparsity: the fraction that is to go, by group name.
        context: the data, or None.
        every_group: all groups of the model, also those that stay whole.
    """

    model: nn.Module
    groups: tuple[Group, ...]
    sparsity: Mapping[str, float]
    context: Context | None = None
    every_group: tuple[Group, ...] = ()

    def weights(self) -> Iterator[tuple[Group, str, nn.Parameter]]:
        """Iterate over the weights that produce the groups' channels, each with its group and its parameter name."""
        seen = set()
        for group in self.groups:
            for part in group.slices:
                if part.role == "out" and part.parameter not in seen:
                    seen.add(part.parameter)
                    yield group, part.parameter, self.model.get_parameter(part.parameter)

    def need(self) -> Context:
        """Return the context.

        Raises:
            UserError: there is none.
        """
        if self.context is None:
            raise UserError("this criterion looks at data: give it a Context(task, data.train)")
        return self.context

    def generator(self, *purpose: str) -> torch.Generator:
        """Return a random generator of its own for one purpose (see :func:`autoprune.base.streams.generator`)."""
        return streams.generator(self.context.seed if self.context else 0, *purpose)

    def batches(self, count: int | None = None) -> Iterator[Any]:
        """Iterate over ``count`` training batches; if None over as many as may be looked at."""
        context = self.need()
        size = context.task.recovery.batch_size
        device = device_of(self.model)
        found = loading.endless_batches(context.train, size, context.seed, device)
        for batch in islice(found, count or context.batches):
            yield to_device(batch, device)


Need = Literal["data", "gradients", "training"]
Scope = Literal["layer", "network"]


class Criterion(ABC):
    """A way to choose what goes. One with hyper-parameters is a frozen dataclass, whose fields they are.

    Attributes:
        granularity: what goes as a whole: ``channel``, ``weight``, ``kernel``, or ``n:m``, n of every m weights being
            kept. Whole channels make the network smaller, all else sets weights to zero.
        paper: where it is from.
        needs: what it looks at beside the weights.
        scope: whether each layer loses the fraction asked of it, or only the network the number of weights asked of
            it in all, the weakest anywhere.
        compensates: whether what is left makes up for what goes (:meth:`compensated`).
    """

    granularity: str
    paper: str
    needs: tuple[Need, ...] = ()
    scope: Scope = "layer"
    compensates: bool = False

    @property
    def structured(self) -> bool:
        """Whether whole channels go."""
        return self.granularity == "channel"

    @abstractmethod
    def score(self, request: Request) -> dict[str, Tensor]:
        """Give everything that could go a score; the lowest goes first.

        Returns:
            Of a channel criterion one score per channel, by group name; else one per weight, by parameter name (a
            tensor of the weight's shape, with a 1 in each dimension that goes as a whole).
        """

    def compensated(self, request: Request, removed: Mapping[str, Collection[int]]) -> nn.Module:
        """Return the network from which channels are to be removed: a copy that makes up for them, or the same.

        Args:
            removed: the channels that go, by group name.
        """
        return request.model


@dataclass(frozen=True)
class FunctionCriterion(Criterion):
    """A criterion without hyper-parameters: a function that scores, and what :class:`Criterion` says of each.

    Args:
        function: what :meth:`Criterion.score` calls.
    """

    function: Callable[[Request], dict[str, Tensor]]
    granularity: str
    paper: str
    needs: tuple[Need, ...] = ()
    scope: Scope = "layer"

    def score(self, request: Request) -> dict[str, Tensor]:
        """Return what the function does."""
        return self.function(request)


def per_unit(group: Group, part: Slice, values: Tensor) -> Tensor:
    """Add values, one for each position of ``part``, up to one for each unit of its group, on the CPU."""
    nobody = group.channels
    index = torch.where(part.unit < 0, nobody, part.unit.long())
    return torch.zeros(nobody + 1).index_add_(0, index, values.detach().float().cpu())[:nobody]


def rows(part: Slice, tensor: Tensor) -> Tensor:
    """Return the parameter (or its gradient, or scores of its shape) with one row for each position of ``part``."""
    return tensor.detach().movedim(part.dim, 0).reshape(len(part.unit), -1)
