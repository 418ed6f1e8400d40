"""Is the smaller network the same function? It must equal the dense one with exactly those channels set to zero."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autoprune.errors import TrialFailure
from autoprune.pruning.channels import remove_channels
from autoprune.pruning.groups import Group, Groups, removed_positions
from autoprune.pruning.trace import call, tensors

TOLERANCE = 1e-3
"""Relative difference that single precision may show in the check of :func:`without_failures`."""


def zeroed(
    model: nn.Module, groups: Groups, removed: Mapping[str, Collection[int]], roles: tuple[str, ...] = ()
) -> nn.Module:
    """Return a copy of ``model`` with these units set to zero everywhere: where they are made, normalised and read.

    Args:
        roles: only in parameters of these roles (``out``, ``carry``, ``in``); all by default. With ``out`` and
            ``carry`` alone the check owes nothing to what is known about the readers, but activations between must
            map zero to zero.
    """
    model = copy.deepcopy(model)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if roles:
        kept = tuple(
            replace(group, slices=tuple(part for part in group.slices if part.role in roles)) for group in groups
        )
        groups = replace(groups, prunable=kept)
    with torch.no_grad():
        for (name, dim), mask in removed_positions(groups, removed).items():
            if name.endswith(("running_mean", "running_var")):
                continue  # weight and bias are zero: what is normalised does not matter, but it must not divide by 0
            state[name].index_fill_(dim, mask.nonzero().flatten().to(state[name].device), 0.0)
    return model.eval()


@torch.no_grad()
def equivalence_error(
    model: nn.Module,
    example_input: Any,
    groups: Groups,
    removed: Mapping[str, Collection[int]],
    roles: tuple[str, ...] = (),
    double: bool = True,
) -> float:
    """Return how far removing is from setting to zero: the largest difference between the outputs, relative.

    It is divided by the largest absolute output. Randomise the norms first (:func:`randomise`): with fresh statistics
    the test proves little.

    Args:
        removed: units by group name.
        roles: see :func:`zeroed`.
        double: compute in double precision, which tells a wrong channel from rounding.

    Raises:
        TrialFailure: the smaller network does not run.
    """
    if double:
        model = copy.deepcopy(model).double()
        example_input = tree_map(_double, example_input)
    smaller = remove_channels(model, example_input, groups, removed)
    found = tensors(call(smaller, example_input))
    del smaller
    wanted = tensors(call(zeroed(model, groups, removed, roles), example_input))
    return relative_difference(found, wanted)


def relative_difference(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the largest absolute difference between two lists of tensors, over the largest value wanted."""
    largest = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if not b.is_floating_point():
            largest = max(largest, float((a != b).any()))
        elif b.numel():
            error = ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()
            largest = max(largest, error if error == error else float("inf"))
    return largest


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm of ``model``, in place, random statistics and affine parameters, and every bias a random value.

    Returns ``model``. A network straight from its constructor has norms that do nothing, biases that are zero and
    layer scales so small that a wrong channel would go unseen.
    """
    generator = torch.Generator().manual_seed(seed)

    def fill(tensor: Tensor | None, low: float, high: float) -> None:
        if tensor is not None:
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
            fill(layer.weight, 0.7, 1.3)
            fill(layer.bias, -0.2, 0.2)
            fill(getattr(layer, "running_mean", None), -0.2, 0.2)
            fill(getattr(layer, "running_var", None), 0.7, 1.3)
        else:
            fill(getattr(layer, "bias", None) if isinstance(getattr(layer, "bias", None), Tensor) else None, -0.1, 0.1)
            fill(getattr(layer, "layer_scale", None), 0.5, 1.5)
    for parameter in model.parameters():
        if not parameter.any():  # such as the head of torchvision's vision transformers
            fill(parameter, -0.1, 0.1)
    return model


def half(group: Group, seed: int = 0) -> list[int]:
    """Return a random half of a group's units."""
    generator = torch.Generator().manual_seed(seed + group.channels)
    return sorted(torch.randperm(group.channels, generator=generator)[: group.channels // 2].tolist())


def without_failures(model: nn.Module, example_input: Any, groups: Groups) -> Groups:
    """Return ``groups`` less those whose removal fails, with the reason in ``left_alone``.

    All are tried together first; only if that fails are halves tried, and halves of these.
    """
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    reasons: dict[str, str] = {}

    def passing(some: list[Group]) -> list[Group]:
        reason = _failure(model, example_input, groups, some)
        if reason is None:
            return some
        if len(some) == 1:
            reasons[some[0].name] = reason
            return []
        left, right = passing(some[: len(some) // 2]), passing(some[len(some) // 2 :])
        together = left + right
        if len(together) == len(some) or _failure(model, example_input, groups, together) is not None:
            for group in right:  # each half passes alone: keep what was tried together
                reasons[group.name] = "it passes the check alone but not together with other groups"
            return left
        return together

    try:
        good = passing(list(groups)) if len(groups) else []
    finally:
        for module, mode in training:
            module.training = mode
    return replace(groups, prunable=tuple(good), left_alone=groups.left_alone | reasons) if reasons else groups


def _failure(model: nn.Module, example_input: Any, groups: Groups, some: list[Group]) -> str | None:
    if not some:
        return None
    removed = {group.name: half(group) for group in some}
    try:
        if not all(group.exact for group in some):
            remove_channels(model, example_input, groups, removed)
            return None
        error = equivalence_error(model, example_input, groups, removed, double=False)
        if error >= TOLERANCE:  # a detector's choice of boxes may flip by rounding alone
            error = equivalence_error(model, example_input, groups, removed)
    except TrialFailure as failure:
        return f"its removal fails: {' '.join(str(failure).split())[:200]}"
    return None if error < TOLERANCE else f"removing it changes the function (relative error {error:.1e})"


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
