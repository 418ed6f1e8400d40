"""From scores to what goes: exactly as much as is asked for. The network that is judged stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from autoprune.base import streams
from autoprune.base.tree import device_of
from autoprune.errors import TrialFailure
from autoprune.prune.criteria.base import Context, Criterion, Request
from autoprune.prune.criteria.n_m import NM
from autoprune.prune.groups import Groups


def lowest_channels(
    criterion: Criterion, model: nn.Module, groups: Groups, remove: Mapping[str, int], context: Context | None
) -> tuple[dict[str, list[int]], nn.Module]:
    """Return the channels with the lowest scores, by group name and in ascending order, and the network to prune.

    Args:
        remove: how many, by group name.

    Returns:
        The network is ``model`` itself, a trained copy if the criterion trains, or one that makes up for what goes.

    Raises:
        TrialFailure: a score is not a finite number.
    """
    asked = tuple(group for group in groups if remove.get(group.name, 0))
    if not asked:
        return {}, model
    sparsity = {group.name: remove[group.name] / group.channels for group in asked}
    request = Request(model, asked, sparsity, context, tuple(groups))
    scores, judged = _score(criterion, request)
    gone = {name: sorted(channels[: remove[name]]) for name, channels in _ascending(scores).items()}
    return gone, criterion.compensated(replace(request, model=judged), gone)


def ordered_channels(
    criterion: Criterion, model: nn.Module, groups: Groups, context: Context | None
) -> dict[str, list[int]]:
    """Return all channels of each group, the lowest scores first, by group name.

    Raises:
        TrialFailure: a score is not a finite number.
    """
    half = {group.name: 0.5 for group in groups}  # no channel criterion scores by how many are to go
    return _ascending(_score(criterion, Request(model, tuple(groups), half, context, tuple(groups)))[0])


def best_weights(
    criterion: Criterion,
    model: nn.Module,
    groups: Groups,
    sparsity: Mapping[str, float],
    context: Context | None,
    within: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], nn.Module]:
    """Return masks of ones and zeros over the weights of each group's producers, beside them, and the network to prune.

    Every layer keeps at least one of what goes as a whole (a weight, a kernel).

    Args:
        sparsity: the fraction to remove, by group name.
        within: masks of an earlier round; what they removed goes first.

    Returns:
        The masks by parameter name. The network is ``model`` itself, or a trained copy if the criterion trains.

    Raises:
        TrialFailure: a score is not a finite number.
    """
    asked = tuple(group for group in groups if sparsity.get(group.name, 0))
    if not asked:
        return {}, model
    request = Request(model, asked, sparsity, context, tuple(groups))
    scores, judged = _score(criterion, request)
    scores = {name: _gone_first(score, (within or {}).get(name)) for name, score in scores.items()}
    weights = {name: weight for _, name, weight in request.weights()}
    if isinstance(criterion, NM):
        patterns = {name: criterion.mask(scores[name]) for name in weights}
        return {name: mask.to(weights[name].device) for name, mask in patterns.items() if mask is not None}, judged
    remove: Mapping[str, float] = {
        name: sparsity[group.name] * scores[name].numel() for group, name, _ in request.weights()
    }
    if criterion.scope == "network":
        remove = _spread(scores, round(sum(remove.values())))
    masks = {
        name: _mask(scores[name], min(round(remove[name]), scores[name].numel() - 1)).expand_as(weight).contiguous()
        for name, weight in weights.items()
    }
    return {name: mask.to(weights[name].device) for name, mask in masks.items()}, judged


def _score(criterion: Criterion, request: Request) -> tuple[dict[str, Tensor], nn.Module]:
    """Let the criterion score a copy of the request's model, and return the scores and the network to prune.

    Criteria train, wrap and hook what they are given; this is the one place that keeps all of it off the model.

    Raises:
        TrialFailure: a score is not a finite number.
    """
    own = copy.deepcopy(request.model).eval()
    with streams.seeded(request.context.seed if request.context else 0, device_of(own)):
        scores = {name: score.detach().cpu() for name, score in criterion.score(replace(request, model=own)).items()}
    for name, score in scores.items():
        if not torch.isfinite(score).all():
            raise TrialFailure(f"the scores of {name} are not finite numbers")
    return scores, own if "training" in criterion.needs else request.model


def _ascending(scores: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: score.sort(stable=True).indices.tolist() for name, score in scores.items()}


def _mask(scores: Tensor, remove: int) -> Tensor:
    """Return zeros for the ``remove`` lowest scores, ones for the rest."""
    return 1.0 - _lowest(scores.flatten(), remove).float().view_as(scores)


def _spread(scores: Mapping[str, Tensor], total: int) -> dict[str, int]:
    """Return how many each tensor loses if the ``total`` lowest scores go, wherever they are, but never all of one."""
    flat = [score.flatten().double() for score in scores.values()]
    flat = [values.index_fill(0, values.argmax(), float("inf")) for values in flat]
    gone = _lowest(torch.cat(flat), total).split([len(values) for values in flat])
    return {name: int(part.sum()) for name, part in zip(scores, gone, strict=True)}


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Return whether each score is among the ``count`` lowest; of equal ones the first are."""
    if count == 0:
        return torch.zeros(len(scores), dtype=torch.bool)
    threshold = scores.kthvalue(count).values
    chosen = scores < threshold
    equal = (scores == threshold).nonzero().flatten()
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen


def _gone_first(score: Tensor, mask: Tensor | None) -> Tensor:
    """Give what an earlier mask removed the lowest score of all."""
    if mask is None:
        return score
    gone = (mask == 0).to(score.device)
    for dim, size in enumerate(score.shape):
        if size == 1:
            gone = gone.all(dim, keepdim=True)
    return score.masked_fill(gone, float("-inf"))
