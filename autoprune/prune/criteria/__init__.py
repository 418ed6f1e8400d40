"""Pruning criteria by name: what chooses what goes. A new one is a small file and a line in ``CRITERIA``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor, nn

from autoprune.base.registry import Registry
from autoprune.errors import UserError
from autoprune.prune.criteria.base import Context, Criterion, FunctionCriterion, Request
from autoprune.prune.criteria.choose import best_weights, lowest_channels, ordered_channels
from autoprune.prune.groups import Groups

__all__ = [
    "CRITERIA",
    "Context",
    "Criterion",
    "FunctionCriterion",
    "Request",
    "channel_order",
    "channels_to_remove",
    "choose_channels",
    "choose_weights",
    "get_criterion",
    "unstructured",
    "weight_masks",
]

CRITERIA: Registry[Criterion] = Registry(
    "criterion",
    {
        # whole channels
        "l1_norm": "autoprune.prune.criteria.magnitude:L1_NORM",
        "l2_norm": "autoprune.prune.criteria.magnitude:L2_NORM",
        "fpgm": "autoprune.prune.criteria.fpgm:FPGM",
        "group_norm": "autoprune.prune.criteria.group_norm:GROUP_NORM",
        "bn_scale": "autoprune.prune.criteria.slim:BN_SCALE",
        "slim": "autoprune.prune.criteria.slim:SLIM",
        "taylor": "autoprune.prune.criteria.taylor:TAYLOR",
        "group_taylor": "autoprune.prune.criteria.group_norm:GROUP_TAYLOR",
        "apoz": "autoprune.prune.criteria.activations:APOZ",
        "mean_activation": "autoprune.prune.criteria.activations:MEAN_ACTIVATION",
        "activation_norm": "autoprune.prune.criteria.activation_norm:ACTIVATION_NORM",
        "wanda_sp": "autoprune.prune.criteria.wanda:WANDA_SP",
        "flap": "autoprune.prune.criteria.flap:FLAP",
        "l0": "autoprune.prune.criteria.l0:L0_GATES",
        "random": "autoprune.prune.criteria.random_scores:RANDOM",
        # single weights
        "level": "autoprune.prune.criteria.magnitude:LEVEL",
        "level_global": "autoprune.prune.criteria.magnitude:LEVEL_GLOBAL",
        "lamp": "autoprune.prune.criteria.lamp:LAMP",
        "snip": "autoprune.prune.criteria.snip:SNIP",
        "wanda": "autoprune.prune.criteria.wanda:WANDA",
        "movement": "autoprune.prune.criteria.movement:MOVEMENT",
        "random_weights": "autoprune.prune.criteria.random_scores:RANDOM_WEIGHTS",
        # the kernels between two channels
        "synaptic_strength": "autoprune.prune.criteria.synaptic_strength:SYNAPTIC_STRENGTH",
        # two of four weights
        "nm_2_4": "autoprune.prune.criteria.n_m:NM_2_4",
    },
    "autoprune.criteria",
)


def get_criterion(name: str) -> Criterion:
    """Return the criterion called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    return CRITERIA[name]


def unstructured() -> list[str]:
    """Return the names of the criteria that remove no whole channels; not of another package's that does not load."""
    names = []
    for name in CRITERIA:
        with suppress(UserError):
            if not CRITERIA[name].structured:
                names.append(name)
    return names


def channels_to_remove(
    model: nn.Module, groups: Groups, criterion: str, remove: Mapping[str, int], context: Context | None = None
) -> dict[str, list[int]]:
    """Return the channels of each group that matter least by a channel criterion.

    Args:
        model: stays as it is, whatever the criterion does to judge it.
        remove: how many channels to remove, by group name.
        context: data, for the criteria that need it.

    Returns:
        The channels' indices by group name, ascending; exactly as many as asked for.
    """
    return choose_channels(model, groups, criterion, remove, context)[0]


def choose_channels(
    model: nn.Module, groups: Groups, criterion: str, remove: Mapping[str, int], context: Context | None = None
) -> tuple[dict[str, list[int]], nn.Module]:
    """Return what :func:`channels_to_remove` does, and the network to remove the channels from.

    That is ``model`` itself or, if the criterion trains, a copy that is trained.
    """
    return lowest_channels(get_criterion(criterion), model, groups, remove, context)


def channel_order(
    model: nn.Module, groups: Groups, criterion: str, context: Context | None = None
) -> dict[str, list[int]]:
    """Return all channels of each group, those that matter least by a channel criterion first, by group name."""
    return ordered_channels(get_criterion(criterion), model, groups, context)


def weight_masks(
    model: nn.Module,
    groups: Groups,
    criterion: str,
    sparsity: Mapping[str, float],
    context: Context | None = None,
    within: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return which weights to keep by a criterion for single weights.

    Args:
        model: stays as it is, whatever the criterion does to judge it.
        sparsity: the fraction of weights to remove from every layer that produces a group's channels.
        context: data, for the criteria that need it.
        within: masks of an earlier round; what they removed goes first.

    Returns:
        A mask of ones and zeros for each such layer's ``weight``, by parameter name.
    """
    return choose_weights(model, groups, criterion, sparsity, context, within)[0]


def choose_weights(
    model: nn.Module,
    groups: Groups,
    criterion: str,
    sparsity: Mapping[str, float],
    context: Context | None = None,
    within: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], nn.Module]:
    """Return what :func:`weight_masks` does, and the network to mask.

    That is ``model`` itself or, if the criterion trains, a copy that is trained.
    """
    return best_weights(get_criterion(criterion), model, groups, sparsity, context, within)
