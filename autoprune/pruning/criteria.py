"""Pruning criteria by name: which of NNI's pruners chooses what goes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.pruning.groups import Group, Groups


@dataclass(frozen=True)
class Criterion:
    """A way to choose what goes.

    Args:
        pruner: the name of a class in ``nni.compression.pruning``.
        structured: whole channels go and the network is made smaller; else single weights are set to zero.
        paper: where it is from.
    """

    pruner: str
    structured: bool
    paper: str


CRITERIA = {
    "l1_norm": Criterion("L1NormPruner", True, "Li et al. 2017, Pruning Filters for Efficient ConvNets"),
    "l2_norm": Criterion("L2NormPruner", True, "L2 norm of the filter; NNI's L2NormPruner"),
    "fpgm": Criterion("FPGMPruner", True, "He et al. 2019, Filter Pruning via Geometric Median"),
    "level": Criterion("LevelPruner", False, "Han et al. 2015, Learning both Weights and Connections"),
}


def get_criterion(name: str) -> Criterion:
    """Return the criterion called ``name``.

    Raises:
        UserError: there is none, with the near matches.
    """
    if name not in CRITERIA:
        near = difflib.get_close_matches(str(name), CRITERIA) or CRITERIA
        raise UserError(f"unknown criterion {name!r}: use {', '.join(near)}")
    return CRITERIA[name]


def channels_to_remove(
    model: nn.Module, groups: Groups, criterion: str, remove: Mapping[str, int]
) -> dict[str, list[int]]:
    """Ask the criterion's NNI pruner which channels of each group matter least.

    Args:
        remove: how many channels to remove, by group name.

    Returns:
        The channels' indices by group name, ascending; exactly as many as asked for.
    """
    asked = [group for group in groups if remove.get(group.name, 0)]
    # NNI rounds ratio * channels down: half a channel more lands on the number that is meant. Members of one
    # dependency group get identical channels. A group of convolutions and linear layers cannot be scored as one.
    config = [
        {
            "op_names": _scored(model, group),
            "sparse_ratio": (remove[group.name] + 0.5) / group.channels,
            "dependency_group_id": group.name,
        }
        for group in asked
    ]
    masks = _masks(model, criterion, config)
    chosen = {}
    for group in asked:
        mask = masks[config[asked.index(group)]["op_names"][0]]["weight"]
        gone = mask.flatten(1).any(1).logical_not().nonzero().flatten().tolist()
        if len(gone) != remove[group.name]:
            raise AssertionError(f"{criterion} removed {len(gone)} channels of {group.name}, not {remove[group.name]}")
        chosen[group.name] = gone
    return chosen


def weight_masks(model: nn.Module, groups: Groups, criterion: str, sparsity: Mapping[str, float]) -> dict[str, Tensor]:
    """Ask the criterion's NNI pruner which weights to keep.

    Args:
        sparsity: the fraction of weights to remove from every layer that produces a group's channels.

    Returns:
        A mask of ones and zeros for each such layer's ``weight``, by parameter name.
    """
    config = [
        {"op_names": list(group.producers), "target_names": ["weight"], "sparse_ratio": float(sparsity[group.name])}
        for group in groups
        if sparsity.get(group.name, 0)
    ]
    return {f"{layer}.weight": masks["weight"] for layer, masks in _masks(model, criterion, config).items()}


def _masks(model: nn.Module, criterion: str, config: list[dict]) -> dict[str, dict[str, Tensor]]:
    if not config:
        return {}
    import nni.compression.pruning

    pruner = getattr(nni.compression.pruning, get_criterion(criterion).pruner)(model, config)
    _, masks = pruner.compress()
    pruner.unwrap_model()
    return masks


def _scored(model: nn.Module, group: Group) -> list[str]:
    convolutions = [name for name in group.producers if not isinstance(model.get_submodule(name), nn.Linear)]
    return convolutions or list(group.producers)
