"""Scores by NNI's own pruners."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn

from autoprune import training
from autoprune.pruning.criteria.base import Context, Request, per_channel
from autoprune.pruning.groups import Group


def norm_scores(name: str) -> Callable[[Request], dict[str, Tensor]]:
    """Return the ``score`` of a criterion whose NNI pruner, ``name``, looks at nothing but the filters."""

    def score(request: Request) -> dict[str, Tensor]:
        with nni_pruner(name, request) as pruner:
            return sum_over_layers(request, measured(pruner))

    return score


@contextmanager
def nni_pruner(name: str, request: Request, config: list[dict] | None = None, **options):
    """Wrap the layers of ``request`` in NNI's pruner ``name`` and unwrap them at the end."""
    import nni.compression.pruning

    pruner = getattr(nni.compression.pruning, name)(request.model, config or filters(request), **options)
    try:
        yield pruner
    finally:
        pruner.unwrap_model()
        request.model.eval()


def filters(request: Request) -> list[dict]:
    """Return NNI's config for scoring the filters of each group's layers."""
    return [
        {
            "op_names": [name],
            "target_names": ["weight"],
            "sparse_ratio": float(request.sparsity[group.name]),
            # NNI takes the first dimension for a filter's; in a transposed convolution it is the second
            "granularity": "in_channel"
            if getattr(request.model.get_submodule(name), "transposed", False)
            else "default",
        }
        for group in request.groups
        for name in scored_layers(request.model, group)
    ]


def measured(pruner, *budget) -> dict[str, Tensor]:
    """Let NNI's pruner do its work and return what it measured in the end, by layer.

    We choose by its measurements ourselves, and not by its masks: those round counts down, and with a global threshold
    can empty a layer.
    """
    last = {}
    generate = pruner._generate_sparsity

    def keep(metrics):
        last.update(metrics)
        return generate(metrics)

    pruner._generate_sparsity = keep
    pruner.compress(*budget)
    return {layer: targets["weight"].detach().clone() for layer, targets in last.items()}


def sum_over_layers(request: Request, by_layer: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the scores of each group's layers up (NNI takes their mean, which gives the same order)."""
    return {
        group.name: sum(per_channel(group, by_layer[name].flatten()) for name in scored_layers(request.model, group))
        for group in request.groups
    }


def scored_layers(model: nn.Module, group: Group) -> list[str]:
    """Return the producers that are scored: of a group that mixes convolutions and linear layers, the convolutions."""
    convolutions = [name for name in group.producers if not isinstance(model.get_submodule(name), nn.Linear)]
    return convolutions or list(group.producers)


def evaluator(model: nn.Module, context: Context, learning_rate: float):
    """Return NNI's evaluator: it trains by plain SGD or, at a learning rate of 0, only looks at gradients."""
    import nni
    from nni.compression import TorchEvaluator

    def training_step(batch, model) -> Tensor:
        x, y = batch
        return context.task.loss(model(x), y)

    # NNI passes these by position
    def train(model, optimizer, training_step, lr_scheduler, max_steps, max_epochs) -> None:
        model.train(learning_rate > 0)  # batch norm stays what it is where nothing is trained
        batches = training.endless_batches(context.train, context.task.recovery.batch_size, context.seed)
        for batch in islice(batches, max_steps):
            optimizer.zero_grad()
            training_step(batch, model).backward()
            optimizer.step()

    torch.manual_seed(context.seed)
    optimizer = nni.trace(torch.optim.SGD)(model.parameters(), lr=learning_rate)
    return TorchEvaluator(train, optimizer, training_step)
