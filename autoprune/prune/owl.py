"""Outlier-weighed layerwise sparsity: layers with more outliers stay denser."""

from __future__ import annotations

import torch
from torch import nn

from autoprune.errors import UserError
from autoprune.prune.allocation import Family, most
from autoprune.prune.criteria.base import Context, Request
from autoprune.prune.criteria.inputs import inputs_of
from autoprune.prune.criteria.wanda import products
from autoprune.prune.groups import Groups

OUTLIER, SPREAD = 5.0, 0.08
"""A product of weight and input is an outlier above so many means of its layer; half of how far sparsities differ."""


def owl(model: nn.Module, groups: Groups, structured: bool, context: Context | None = None) -> Family:
    """Give each group a sparsity by its share of outliers; all lie within twice :data:`SPREAD`.

    Yin et al. 2023, with the paper's M of 5 and lambda of 0.08. A group's share is that of the layers that make it.

    Raises:
        UserError: there is no data to look at.
    """
    if context is None:
        raise UserError("the allocation owl looks at data: it needs a Context(task, data.train)")
    request = Request(model, tuple(groups), {}, context)
    weights = [(group.name, name, weight) for group, name, weight in request.weights()]
    inputs = inputs_of(request, {name.rpartition(".")[0] for _, name, _ in weights})
    found: dict[str, list[torch.Tensor]] = {group.name: [] for group in groups}
    for group, name, weight in weights:
        product = products(weight, inputs.get(name.rpartition(".")[0]))
        found[group].append((product > OUTLIER * product.mean()).double().flatten())
    shares = {name: float(torch.cat(parts).mean()) if parts else 0.0 for name, parts in found.items()}
    middle, widest = sum(shares.values()) / len(shares), max(shares.values()) - min(shares.values())
    shift = {name: 2 * SPREAD * (middle - share) / widest if widest else 0.0 for name, share in shares.items()}
    limits = most(model, groups, structured)
    return lambda level: {
        name: min(max(0.0, level + shift[name] * min(1.0, 4 * level * (1 - level))), limits[name]) for name in shares
    }
