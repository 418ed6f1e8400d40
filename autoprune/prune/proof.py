"""Is the smaller network the same function? It must equal the dense one with exactly those channels set to zero."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from autoprune.base.tree import beside, call
from autoprune.errors import TrialFailure
from autoprune.prune.graph.trace import tensors
from autoprune.prune.groups import Group, Groups, removed_positions
from autoprune.prune.random_values import NoChance, random_input, randomise
from autoprune.prune.removal import cut, remove_channels
from autoprune.task.accepted import accepted

SINGLE, DOUBLE = 1e-4, 1e-6
"""Differences allowed in the check of :func:`without_failures`, by precision, relative to what setting to zero does."""

RUNS_NOT = "the pruned network does not run"
UNPROVED = "nothing proves its removal: setting half of it to zero does not change the output"

VISIBLE = {torch.float64: 1e-7}
"""The least that setting to zero must change to be more than rounding, relative to the output; else 1e-3."""


def zeroed(
    model: nn.Module, groups: Groups, removed: Mapping[str, Collection[int]], roles: tuple[str, ...] = ()
) -> nn.Module:
    """Return a copy of ``model`` with these units set to zero everywhere: where they are made, normalised and read.

    Args:
        roles: only in parameters of these roles (``out``, ``carry``, ``in``); all by default. With ``out`` and
            ``carry`` alone the check owes nothing to what is known about the readers, but activations between must
            map zero to zero.
    """
    if roles:
        kept = tuple(
            replace(group, slices=tuple(part for part in group.slices if part.role in roles)) for group in groups
        )
        groups = replace(groups, prunable=kept)
    return _zero(copy.deepcopy(accepted(model)), removed_positions(groups, removed)).eval()


@torch.no_grad()
def _zero(model: nn.Module, gone: Mapping[tuple[str, int], Tensor]) -> nn.Module:
    """Set these positions to zero in place."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for (name, dim), mask in gone.items():
        if name.endswith(("running_mean", "running_var")):
            continue  # weight and bias are zero: what is normalised does not matter, but it must not divide by 0
        state[name].index_fill_(dim, mask.nonzero().flatten().to(state[name].device), 0.0)
    return model


def outputs(model: nn.Module, example_input: Any, training: bool = False) -> list[Tensor]:
    """Return the output tensors of a run without chance: dropout passes all, and the generators are given back.

    Args:
        model: it is left in the mode in which it ran.
        training: run as in training, but for batch norms, which use their statistics and leave them as they are.
    """
    model.train(training)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(list(devices)), NoChance():
        torch.default_generator.manual_seed(0)
        return tensors(call(model, copy.deepcopy(example_input)))


@torch.no_grad()
def equivalence_error(
    model: nn.Module,
    example_input: Any,
    groups: Groups,
    removed: Mapping[str, Collection[int]],
    roles: tuple[str, ...] = (),
    double: bool = True,
    training: bool = False,
) -> float:
    """Return how far removing is from setting to zero: the largest difference between the outputs, relative.

    It is divided by the largest absolute output. It says what holds for these weights and this input, and little
    behind layers that do nothing: use :func:`~autoprune.prune.random_values.randomise` first on a network that was
    not trained, and no input of zeros.

    Args:
        removed: units by group name.
        roles: see :func:`zeroed`.
        double: compute in double precision, which tells a wrong channel from rounding; in that of the model where an
            operator knows no other.
        training: compare as in training (see :func:`outputs`).

    Raises:
        TrialFailure: the smaller network does not run.
    """
    example_input = beside(model, example_input)
    if double:
        try:
            precise = Subject(accepted(model), example_input, _same, True)
        except Exception:  # not the removal's fault: nothing is removed yet
            pass
        else:
            model, example_input = precise.copy(), precise.example_input
    smaller = remove_channels(model, example_input, groups, removed)
    found = outputs(smaller, example_input, training)
    del smaller
    return relative_difference(found, outputs(zeroed(model, groups, removed, roles), example_input, training))


def relative_difference(found: Sequence[Tensor], wanted: Sequence[Tensor], dense: Sequence[Tensor] = ()) -> float:
    """Return the largest absolute difference between two lists of tensors, over the largest value wanted.

    Args:
        dense: the outputs of the network before; where these differ visibly from what is wanted, the difference is
            taken over that, so that a large part of the output on which nothing depends hides no error.
    """
    if len(found) != len(wanted):
        return math.inf
    largest = 0.0
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a.shape != b.shape:
            return math.inf
        if not b.is_floating_point():
            largest = max(largest, float((a != b).any()))
        elif b.numel():
            effect = _effect(dense[i], b) if len(dense) == len(wanted) else 0.0
            error = _distance(a, b) / max(effect if 0 < effect < math.inf else _size(b), 1e-30)
            largest = max(largest, error if error == error else math.inf)
    return largest


def _size(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference; infinities at the same places are none."""
    return torch.where(a == b, 0.0, a - b).abs().max().item()


def _visible(dense: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Whether setting to zero changes any output."""
    return len(dense) != len(wanted) or any(_effect(a, b) for a, b in zip(dense, wanted, strict=True))


def _effect(dense: Tensor, wanted: Tensor) -> float:
    """Return the largest difference that setting to zero makes: 0 if it is no more than rounding, inf if sizes change.

    Those of whole numbers are 0 or infinite.
    """
    if dense.shape != wanted.shape:
        return math.inf
    if not wanted.numel():
        return 0.0
    if not wanted.is_floating_point():
        return math.inf if (dense != wanted).any() else 0.0
    effect = _distance(dense, wanted)
    return effect if effect > VISIBLE.get(wanted.dtype, 1e-3) * max(_size(wanted), _size(dense)) else 0.0


def half(group: Group, seed: int = 0) -> list[int]:
    """Return a random half of a group's units."""
    generator = torch.Generator().manual_seed(seed + group.channels)
    return sorted(torch.randperm(group.channels, generator=generator)[: group.channels // 2].tolist())


class Subject:
    """What removal is proved on: copies of a network, with random weights where it bears them, and an input.

    Args:
        weights: of the copies: random, or the network's own.
        double: in double precision.
    """

    def __init__(self, model: nn.Module, example_input: Any, weights: Callable[[nn.Module], nn.Module], double: bool):
        self._model, self._example_input, self._weights, self._double = model, example_input, weights, double
        self.example_input = tree_map(_double, example_input) if double else example_input
        self._spare: nn.Module | None = self.copy()
        self.dense = outputs(self._spare, self.example_input)

    def copy(self) -> nn.Module:
        """Return another copy."""
        if spare := self.__dict__.pop("_spare", None):
            return spare
        model = self._weights(copy.deepcopy(self._model))
        return model.double() if self._double else model

    @cached_property
    def precise(self) -> Subject | None:
        """The same in double precision; None where an operator knows no other precision than the model's."""
        try:
            return Subject(self._model, self._example_input, self._weights, True)
        except Exception:
            return None


def random_subject(model: nn.Module, example_input: Any) -> Subject:
    """Return one with random weights and input; if it gives no sound output, with the model's or the example."""
    if isinstance(example_input, Mapping):  # such as a tokenizer's, which PyTorch does not know
        example_input = dict(example_input)
    drawn = random_input(model, example_input)
    for weights in (randomise, _same):
        for chosen in (drawn, example_input):
            try:
                subject = Subject(model, chosen, weights, False)
            except Exception:  # such as a table of indices among the parameters
                continue
            if _sound(subject.dense):
                return subject
    return Subject(model, example_input, _same, False)


def _same(model: nn.Module) -> nn.Module:
    return model


def _sound(found: Sequence[Tensor]) -> bool:
    """Whether outputs are mostly finite, never NaN, and not all zero."""
    floats = [tensor for tensor in found if tensor.is_floating_point()]
    if any(tensor.isnan().any() or tensor.isfinite().float().mean() < 0.5 for tensor in floats):
        return False
    return not floats or any(_size(tensor) for tensor in floats)


def without_failures(model: nn.Module, example_input: Any, groups: Groups) -> Groups:
    """Return ``groups`` less those whose removal fails, with the reason in ``left_alone``.

    Proved on a copy with random weights and a random input of the example's kind, as in evaluation and as in training.
    All are tried together first; only if that fails are halves tried, and halves of these.
    """
    if not len(groups):
        return groups
    subject = random_subject(model, example_input)
    reasons: dict[str, str] = {}

    def passing(some: list[Group]) -> list[Group]:
        reason = _failure(subject, groups, some)
        if reason is None:
            return some
        if len(some) == 1:
            reasons[some[0].name] = reason
            return []
        left, right = passing(some[: len(some) // 2]), passing(some[len(some) // 2 :])
        together = left + right
        if len(together) == len(some) or _failure(subject, groups, together) is not None:
            for group in right:  # each half passes alone: keep what was tried together
                reasons[group.name] = "it passes the check alone but not together with other groups"
            return left
        return together

    good = passing(list(groups))
    return replace(groups, prunable=tuple(good), left_alone=groups.left_alone | reasons) if reasons else groups


def _failure(subject: Subject, groups: Groups, some: list[Group]) -> str | None:
    """Return why half of these groups cannot go, or None."""
    if not some:
        return None
    reason = _why_not(subject, groups, some, SINGLE)
    if reason is None or RUNS_NOT in reason:
        return reason
    if subject.precise:  # in single precision a detector's choice of boxes may flip by rounding alone
        return _why_not(subject.precise, groups, some, DOUBLE)
    return _why_not(subject, groups, some, 10 * SINGLE)


def _why_not(subject: Subject, groups: Groups, some: list[Group], tolerance: float) -> str | None:
    example_input, gone = subject.example_input, removed_positions(groups, {group.name: half(group) for group in some})
    dense = subject.copy()
    try:
        smaller = cut(dense, gone)
        found = outputs(smaller, example_input)
    except TrialFailure as failure:
        return f"its removal fails: {failure}"
    except Exception as error:
        return f"its removal fails: {RUNS_NOT}: {_line(error)}"
    if [tensor.shape[1:] for tensor in found] != [tensor.shape[1:] for tensor in subject.dense]:
        return f"its removal fails: {RUNS_NOT} to an output of the same shape"
    if not all(group.exact for group in some):
        return None
    reference = _zero(dense, gone)
    wanted = outputs(reference, example_input)
    error = relative_difference(found, wanted, subject.dense)
    if not error < tolerance:
        return f"removing it changes the function (relative error {error:.1e})"
    proved = _visible(subject.dense, wanted)

    try:
        trained = outputs(smaller, example_input, training=True)
        if proved and relative_difference(trained, found) < tolerance / 10:
            return None  # nothing in it asks whether it is trained
        failed = None
    except Exception as error:
        failed = error
    try:
        wanted = outputs(reference, example_input, training=True)
        dense_trained = outputs(subject.copy(), example_input, training=True)
    except Exception:  # such as a detector, which is trained with labels
        return None if proved else UNPROVED
    if failed is not None:
        return f"its removal fails in training: {RUNS_NOT}: {_line(failed)}"
    error = relative_difference(trained, wanted, dense_trained)
    if not error < tolerance:
        return f"removing it changes the function in training (relative error {error:.1e})"
    return None if proved or _visible(dense_trained, wanted) else UNPROVED


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
