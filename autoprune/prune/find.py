"""Finding the coupled channel groups of a model, by one run of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoprune.base.device import CPU, on_cpu
from autoprune.base.modes import evaluating
from autoprune.base.tree import call, said, to_device
from autoprune.errors import UserError, in_a_line
from autoprune.prune.account import GOES_WITH, complete, packed, unlabelled
from autoprune.prune.graph.labels import SINGLE, core
from autoprune.prune.graph.propagation import Axis
from autoprune.prune.graph.trace import Trace, trace
from autoprune.prune.groups import Group, Groups, Slice
from autoprune.prune.proof import without_failures
from autoprune.results.candidate import WIDTH
from autoprune.task.accepted import accepted


def find_groups(
    model: nn.Module,
    example_input: Any,
    keep: Sequence[str] = (),
    allow_inexact: bool = False,
    verify: bool = True,
) -> Groups:
    """Find the coupled channel groups of ``model``.

    They are found on the CPU, wherever the model is: each device has operations of its own, and the groups are the
    network's.

    Args:
        example_input: a tensor of shape ``(1, ...)``, a tuple of positional arguments or a mapping of named ones.
        keep: names of layers whose channels are never removed.
        allow_inexact: also return groups under a LayerNorm or an RMSNorm, such as the residual stream of a transformer,
            whose removal changes the function (``Group.exact`` is False, and the name begins with
            :data:`~autoprune.results.candidate.WIDTH`): these norms are then taken over fewer channels.
        verify: remove half of every group once and compare with the network whose channels are set to zero, on random
            weights and a random input; a group that fails is left alone. It costs a copy of the weights, two runs and
            two of the smaller network.

    Returns:
        The prunable groups, and all else that has parameters with the reason: the output, a layer in ``keep``, or a
        shape whose removal would not preserve the function. The model's own names are those without the masks of
        ``torch.nn.utils.prune``.

    Raises:
        UserError: a network that cannot be pruned (:func:`~autoprune.task.accepted.accepted`), one that cannot take the
            example, or an output that cannot be looked into.
    """
    model, example_input = on_cpu(accepted(model)), to_device(example_input, CPU)
    exact, reasons = _assemble(model, _trace(model, example_input, keep))
    groups = exact
    if allow_inexact:
        known = {part.parameter + str(part.dim) for group in exact for part in group.slices if part.role == "out"}
        groups, reasons = _assemble(model, _trace(model, example_input, keep, inexact=True))
        found = [
            group
            if any(part.parameter + str(part.dim) in known for part in group.slices if part.role == "out")
            else replace(group, exact=False, name=WIDTH + group.name, kind="width")
            for group in groups
        ]
        groups = replace(groups, prunable=tuple(found))
    if verify:
        for group in groups:
            reasons |= {part.parameter: GOES_WITH + group.name for part in group.slices}
        groups = without_failures(model, example_input, groups)
    inside = {part.parameter for group in groups for part in group.slices}
    return replace(groups, left_alone=complete(model, reasons, inside, groups.left_alone) | packed(model))


def _trace(model: nn.Module, example_input: Any, keep: Sequence[str], inexact: bool = False) -> Trace:
    try:
        return trace(model, example_input, tuple(keep), inexact)
    except UserError:
        raise
    except Exception:
        _check_runs(model, example_input)
        raise


def _check_runs(model: nn.Module, example_input: Any) -> None:
    """Raise a UserError if the model cannot take the example, untraced."""
    try:
        with evaluating(model), torch.no_grad():
            call(model, copy.deepcopy(example_input))
    except Exception as error:
        what = f"the model cannot take the example, {said(example_input)}"
        raise UserError(f"{what}: {in_a_line(error)}") from error


def _assemble(model: nn.Module, seen: Trace) -> tuple[Groups, dict[str, str]]:
    """Turn labels into groups: the units whose first producer is the same layer, numbered in its order.

    Returns the groups, and by parameter why it stays if no group has it.
    """
    components, kept = seen.couplings.resolve()
    parameters = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    position = {name: i for i, name in enumerate(parameters)}
    parts, kept = _parts(seen, components, kept)
    producers = [p for p in parts if p[2] == "out"]
    producers.sort(key=lambda part: position[part[0]])
    free = np.ones(components.max() + 1, bool)
    free[list(kept)] = False
    places = {(a.name, a.dim): np.arange(a.start, a.start + math.prod(a.shape)) for a in seen.axes}

    owner = np.full(len(free), -1)  # of each component: the number of its first producer
    unit = np.full(len(free), -1)  # of each component: its number in that producer's group
    sizes: list[int] = []
    left_alone: dict[str, str] = {}
    leaders: dict[int, str] = {}  # by component: the layer that is left alone with it
    for i, (name, dim, _, ids) in enumerate(producers):
        unique, first = np.unique(ids, return_index=True)
        new = unique[np.argsort(first)]
        new = new[owner[new] < 0]
        owner[new] = i
        new_free = new[free[new]]
        if len(new_free) < 2:
            if len(new):
                left_alone.setdefault(_layer(name), _why(seen, [places[name, dim]], new.tolist(), kept))
                leaders |= dict.fromkeys(new.tolist(), _layer(name))
            new_free = new_free[:0]
        unit[new_free] = np.arange(len(new_free))
        sizes.append(len(new_free))

    members: list[list[Slice]] = [[] for _ in producers]
    for name, dim, role, ids in parts:
        owners = np.where(unit[ids] >= 0, owner[ids], -1)
        for i in np.unique(owners[owners >= 0]).tolist():
            of_unit = torch.from_numpy(np.where(owners == i, unit[ids], -1).astype(np.int32))
            members[i].append(Slice(name, dim, of_unit, role))
    found = [
        _describe(_layer(producers[i][0]), size, members[i], parameters, position, seen.macs)
        for i, size in enumerate(sizes)
        if size
    ]
    names: set[str] = set()
    for i, group in enumerate(found):  # a layer with two matrices may start two groups
        if group.name in names:
            found[i] = replace(group, name=group.slices[0].parameter)
        names.add(found[i].name)
    reasons = _reasons(model, seen, components, kept, leaders)
    return Groups(tuple(found), left_alone, tuple(seen.outputs)), reasons


def _reasons(
    model: nn.Module, seen: Trace, components: np.ndarray, kept: Mapping[int, str], leaders: Mapping[int, str]
) -> dict[str, str]:
    """Return why a parameter stays if no group has it, by its name.

    Args:
        leaders: by component: the layer that is left alone with it.
    """
    reasons = unlabelled(model)
    axes: dict[str, list[Axis]] = {}
    for axis in seen.axes:
        axes.setdefault(axis.name, []).append(axis)
    for name in reasons:
        if name in axes:
            made_first = sorted(axes[name], key=lambda axis: seen.roles.get((axis.name, axis.dim)) == "in")
            labels = [np.arange(axis.start, axis.start + math.prod(axis.shape)) for axis in made_first]
        elif name in seen.beside and (beside := seen.beside[name][1]) is not None:
            labels = [core(beside).reshape(-1).numpy()]
        else:
            if name in seen.beside and "MB" not in reasons[name]:
                reasons[name] = f"it is read by {seen.beside[name][0]}, whose result keeps its size"
            continue
        ids = [component for line in labels for component in np.unique(components[line]).tolist()]
        leader = next((leaders[c] for c in ids if leaders.get(c, _layer(name)) != _layer(name)), None)
        reasons[name] = GOES_WITH + leader if leader else _why(seen, labels, ids, kept)
    return reasons


def _why(seen: Trace, labels: Sequence[np.ndarray], ids: Sequence[int], kept: Mapping[int, str]) -> str:
    """Return why units cannot go one by one.

    Args:
        labels: those along each dimension where they lie.
        ids: their components, the most telling first.
    """
    strong = next((kept[c] for c in ids if kept.get(c, SINGLE) != SINGLE), None)
    if strong is not None:
        return strong
    if max(len(line) for line in labels) == 1:
        return next((kept[c] for c in ids if c in kept), "it has a single channel")
    together = (seen.couplings.why_together(line) for line in labels if len(line) > 1)
    return next((why for why in together if why), "its channels can only go all together")


def _parts(seen: Trace, components: np.ndarray, kept: dict[int, str]) -> tuple[list, dict[int, str]]:
    """Return ``(parameter, dim, role, component at each position)`` of all that can shrink."""
    parts = []
    for axis in seen.axes:
        ids = components[axis.start : axis.start + int(np.prod(axis.shape, dtype=np.int64))]
        if axis.dim is not None:
            parts.append((axis.name, axis.dim, seen.roles.get((axis.name, axis.dim), "carry"), ids))
            continue
        ids = ids.reshape(axis.shape)
        changing = [dim for dim, size in enumerate(axis.shape) if size > 1 and (ids != ids.take([0], axis=dim)).any()]
        if len(changing) == 1:
            line = ids[tuple(slice(None) if dim == changing[0] else 0 for dim in range(ids.ndim))]
            parts.append((axis.name, changing[0], "carry", line))
        elif changing or ids.size == 1:
            why = f"it does not lie along one dimension of {axis.name}"
            kept = dict.fromkeys(np.unique(ids).tolist(), why) | kept if _is_shared(ids, axis) else kept
    return parts, kept


def _is_shared(ids: np.ndarray, axis: Axis) -> bool:
    """Whether any element goes with something outside its own parameter (an unused one's are all alone)."""
    return len(np.unique(ids)) < ids.size or ids.size == 1


def _describe(name: str, units: int, slices: list[Slice], parameters, position, macs) -> Group:
    slices.sort(key=lambda part: (position[part.parameter], part.dim))
    layers: dict[str, list[str]] = {"out": [], "carry": [], "in": []}
    params = cost = 0.0
    for role in layers:
        for part in slices:
            others = [layer for found in layers.values() for layer in found]
            if part.role == role and (role != "carry" or part.layer not in others) and part.layer not in layers[role]:
                layers[role].append(part.layer)
    for part in slices:
        share = float((part.unit >= 0).float().mean())
        params += parameters[part.parameter].numel() * share * isinstance(parameters[part.parameter], nn.Parameter)
        cost += macs.get(part.parameter, 0) * share
    # norms and biases of consumers carry no channels of their own
    followers = [layer for layer in layers["carry"] if layer not in layers["in"]]
    producers, consumers = tuple(layers["out"]), tuple(layers["in"])
    kind = _kind([part for part in slices if part.role == "out"], parameters)
    return Group(
        name, units, producers, tuple(followers), consumers, round(params), round(cost), tuple(slices), kind=kind
    )


def _kind(made: Sequence[Slice], parameters: Mapping[str, Tensor]) -> str:
    """Return what the channels are that these slices make: heads are adjacent rows of a matrix that go together."""
    if parameters[made[0].parameter].ndim != 2:
        return "channels"
    adjacent = (((part.unit[1:] == part.unit[:-1]) & (part.unit[1:] >= 0)).any() for part in made)
    return "heads" if any(adjacent) else "mlp"


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter
