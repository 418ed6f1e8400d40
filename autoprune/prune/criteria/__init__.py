"""Pruning criteria by name: what chooses what goes. A new one is a small file and a line in ``CRITERIA``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from autoprune.errors import unknown
from autoprune.prune.criteria.activations import APOZ, MEAN_ACTIVATION
from autoprune.prune.criteria.base import Context, Criterion, Request
from autoprune.prune.criteria.by_chance import RANDOM, RANDOM_WEIGHTS
from autoprune.prune.criteria.choose import best_weights, lowest_channels, ordered_channels
from autoprune.prune.criteria.fpgm import FPGM
from autoprune.prune.criteria.group_norm import GROUP_NORM, GROUP_TAYLOR
from autoprune.prune.criteria.l0 import L0
from autoprune.prune.criteria.lamp import LAMP
from autoprune.prune.criteria.magnitude import L1_NORM, L2_NORM, LEVEL, LEVEL_GLOBAL
from autoprune.prune.criteria.movement import MOVEMENT
from autoprune.prune.criteria.n_m import NM_2_4
from autoprune.prune.criteria.slim import BN_SCALE, SLIM
from autoprune.prune.criteria.snip import SNIP
from autoprune.prune.criteria.synaptic_strength import SYNAPTIC_STRENGTH
from autoprune.prune.criteria.taylor import TAYLOR
from autoprune.prune.groups import Groups

__all__ = [
    "CRITERIA",
    "Context",
    "Criterion",
    "Request",
    "channel_order",
    "channels_to_remove",
    "choose_channels",
    "choose_weights",
    "get_criterion",
    "weight_masks",
]

CRITERIA: dict[str, Criterion] = {
    # whole channels
    "l1_norm": L1_NORM,
    "l2_norm": L2_NORM,
    "fpgm": FPGM,
    "group_norm": GROUP_NORM,
    "bn_scale": BN_SCALE,
    "slim": SLIM,
    "taylor": TAYLOR,
    "group_taylor": GROUP_TAYLOR,
    "apoz": APOZ,
    "mean_activation": MEAN_ACTIVATION,
    "l0": L0,
    "random": RANDOM,
    # single weights
    "level": LEVEL,
    "level_global": LEVEL_GLOBAL,
    "lamp": LAMP,
    "snip": SNIP,
    "movement": MOVEMENT,
    "random_weights": RANDOM_WEIGHTS,
    # the kernels between two channels
    "synaptic_strength": SYNAPTIC_STRENGTH,
    # two of four weights
    "nm_2_4": NM_2_4,
}


def get_criterion(name: str) -> Criterion:
    """Return the criterion called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    if name not in CRITERIA:
        raise unknown("criterion", name, CRITERIA)
    return CRITERIA[name]


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
