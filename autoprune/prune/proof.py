"""Is the smaller network the same function? It must equal the dense one with exactly those channels set to zero.

Where channels under a norm go it is not, and must equal the dense network with those channels at zero and the norms
taken over the others (:mod:`autoprune.prune.rest_norms`): such groups are inexact.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.base.tree import beside
from autoprune.errors import TrialFailure
from autoprune.prune.groups import Group, Groups, removed_positions
from autoprune.prune.outputs import outputs, relative_difference, visible
from autoprune.prune.removal import cut, remove_channels
from autoprune.prune.rest_norms import norms_over_the_rest
from autoprune.prune.subject import Subject, random_subject, same
from autoprune.prune.suspects import suspects
from autoprune.task.accepted import accepted

SINGLE, DOUBLE = 1e-4, 1e-6
"""Differences allowed in the check of :func:`without_failures`, by precision, relative to what setting to zero does."""

RUNS_NOT = "the pruned network does not run"
UNPROVED = "nothing proves its removal: setting half of it to zero does not change the output"


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
            precise = Subject(accepted(model), example_input, same, True)
        except Exception:  # not the removal's fault: nothing is removed yet
            pass
        else:
            model, example_input = precise.copy(), precise.example_input
    smaller = remove_channels(model, example_input, groups, removed)
    found = outputs(smaller, example_input, training)
    del smaller
    with norms_over_the_rest(groups, removed_positions(groups, removed)):
        wanted = outputs(zeroed(model, groups, removed, roles), example_input, training)
    return relative_difference(found, wanted)


def half(group: Group, seed: int = 0) -> list[int]:
    """Return a random half of a group's units."""
    generator = torch.Generator().manual_seed(seed + group.channels)
    return sorted(torch.randperm(group.channels, generator=generator)[: group.channels // 2].tolist())


@dataclass(frozen=True)
class _Failure:
    """Why half of some groups cannot go: in words, how far a run came before it showed, and who is suspected."""

    why: str
    place: int = 0
    suspects: tuple[Group, ...] = ()


def without_failures(model: nn.Module, example_input: Any, groups: Groups) -> Groups:
    """Return ``groups`` less those whose removal fails, with the reason in ``left_alone``.

    Proved on a copy with random weights and a random input of the example's kind, as in evaluation and as in training.
    All are tried together first. If that fails, those that are suspected (:mod:`autoprune.prune.suspects`) are put
    aside until the others pass; who was put aside without a conviction is tried again with those. Where nobody is
    suspected, halves are tried, and halves of these.
    Groups that are inexact are tried after all others, each alone and with all that went well before: layers that take
    one size for another would pass where both are halved.
    """
    if not len(groups):
        return groups
    subject = random_subject(model, example_input)
    reasons: dict[str, str] = {}
    good, again = [group for group in groups if group.exact], list[Group]()
    failure = _failure(subject, groups, good) if good else None
    while failure and failure.suspects and len(failure.suspects) < len(good):
        aside = {group.name for group in failure.suspects}
        good = [group for group in good if group.name not in aside]
        following = _failure(subject, groups, good)
        convicted = len(aside) == 1 and (not following or following.place > failure.place)
        if convicted:  # without it the run comes further
            reasons[failure.suspects[0].name] = failure.why
        else:
            again += failure.suspects
        failure = following
    if failure:
        good = _halved(subject, groups, good, failure, reasons)
    for group in again:
        together = sorted([*good, group], key=list(groups).index)
        failure = _failure(subject, groups, together)
        if failure:
            reasons[group.name] = failure.why
        else:
            good = together
    for group in groups:
        if not group.exact:
            failure = _failure(subject, groups, [group]) or (good and _failure(subject, groups, [*good, group])) or None
            if failure:
                reasons[group.name] = failure.why
            else:
                good.append(group)
    good = [group for group in groups if group in good]
    return replace(groups, prunable=tuple(good), left_alone=groups.left_alone | reasons) if reasons else groups


def _halved(
    subject: Subject, groups: Groups, some: list[Group], failure: _Failure | None, reasons: dict[str, str]
) -> list[Group]:
    """Return those of ``some`` that pass together, and write down the ``reasons`` of the others.

    Args:
        failure: of all of them.
    """
    if failure is None:
        return some
    if len(some) == 1:
        reasons[some[0].name] = failure.why
        return []
    halves = some[: len(some) // 2], some[len(some) // 2 :]
    left, right = (_halved(subject, groups, half, _failure(subject, groups, half), reasons) for half in halves)
    together = left + right
    if len(together) == len(some) or _failure(subject, groups, together) is not None:
        for group in right:  # each half passes alone: keep what was tried together
            reasons[group.name] = "it passes the check alone but not together with other groups"
        return left
    return together


def _failure(subject: Subject, groups: Groups, some: list[Group]) -> _Failure | None:
    """Return why half of these groups cannot go, or None."""
    if not some:
        return None
    failure = _why_not(subject, groups, some, SINGLE)
    if failure is None or RUNS_NOT in failure.why:
        return failure
    if subject.precise:  # in single precision a detector's choice of boxes may flip by rounding alone
        return _why_not(subject.precise, groups, some, DOUBLE)
    return _why_not(subject, groups, some, 10 * SINGLE)


def _why_not(subject: Subject, groups: Groups, some: list[Group], tolerance: float) -> _Failure | None:
    example_input, gone = subject.example_input, removed_positions(groups, {group.name: half(group) for group in some})
    dense = subject.copy()
    smaller: nn.Module | None = None
    reference: nn.Module | None = None

    def failed(why: str, training: bool = False) -> _Failure:
        if smaller is None:
            return _Failure(why)
        place, found = suspects(smaller, reference, example_input, some, gone, training)
        return _Failure(why, place, tuple(found))

    try:
        smaller = cut(dense, gone)
        found = outputs(smaller, example_input)
    except TrialFailure as failure:
        return failed(f"its removal fails: {failure}")
    except Exception as error:
        return failed(f"its removal fails: {RUNS_NOT}: {_line(error)}")
    if [tensor.shape[1:] for tensor in found] != [tensor.shape[1:] for tensor in subject.dense]:
        return failed(f"its removal fails: {RUNS_NOT} to an output of the same shape")
    reference = _zero(dense, gone)
    with norms_over_the_rest(groups, gone):
        wanted = outputs(reference, example_input)
    difference = relative_difference(found, wanted, subject.dense)
    if not difference < tolerance:
        return failed(f"removing it changes the function (relative error {difference:.1e})")
    proved = visible(subject.dense, wanted)

    try:
        trained = outputs(smaller, example_input, training=True)
        if proved and relative_difference(trained, found) < tolerance / 10:
            return None  # nothing in it asks whether it is trained
        error_in_training: Exception | None = None
    except Exception as error:
        error_in_training = error
    try:
        with norms_over_the_rest(groups, gone):
            wanted = outputs(reference, example_input, training=True)
        dense_trained = outputs(subject.copy(), example_input, training=True)
    except Exception:  # such as a detector, which is trained with labels
        return None if proved else _Failure(UNPROVED)
    if error_in_training is not None:
        return failed(f"its removal fails in training: {RUNS_NOT}: {_line(error_in_training)}", training=True)
    difference = relative_difference(trained, wanted, dense_trained)
    if not difference < tolerance:
        return failed(f"removing it changes the function in training (relative error {difference:.1e})", training=True)
    return None if proved or visible(dense_trained, wanted) else _Failure(UNPROVED)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
