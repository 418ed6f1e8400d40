"""One trial: prune, recover, measure. A function that needs no experiment around it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from autoprune import measure, training
from autoprune.candidate import Candidate, channels_kept
from autoprune.dense import Dense
from autoprune.errors import UserError
from autoprune.pruning.channels import remove_channels
from autoprune.pruning.criteria import channels_to_remove, get_criterion, weight_masks
from autoprune.pruning.groups import Groups, find_groups
from autoprune.pruning.schedules import Schedule, get_schedule
from autoprune.task import Splits, Task


@dataclass(frozen=True)
class TrialResult:
    """What a trial found.

    Args:
        model: the pruned, recovered network, in evaluation mode.
        measures: ``accuracy`` on the validation split (of the removed network; of the masked weights where they are
            unstructured), ``params`` (non-zeros), ``macs``, ``bytes`` and ``latency_ms``.
        kept: channels left in each group.
    """

    model: nn.Module
    measures: dict[str, float]
    kept: dict[str, int]


def run_trial(
    task: Task,
    candidate: Candidate,
    data: Splits,
    dense: Dense,
    seed: int = 0,
    round_to: int = 8,
    on_round: Callable[[float], None] = lambda accuracy: None,
) -> TrialResult:
    """Carry out one candidate.

    Args:
        seed: of the recovery; the same seed gives the same accuracy on the same machine.
        round_to: kept channels are a multiple of this where a group is large enough.
        on_round: called with the validation accuracy after every round of the schedule but the last.

    Raises:
        TrialFailure: the loss became NaN, or a layer would be left empty.
        UserError: the candidate names an unknown criterion, schedule or group.
    """
    groups = find_groups(dense.model, task.example_input, task.keep)
    unknown = set(candidate.sparsity) - {group.name for group in groups}
    if unknown:
        raise UserError(f"no coupled group is called {min(unknown)!r}: see `autoprune groups {task.name}`")
    prune = _prune_channels if get_criterion(candidate.criterion).structured else _prune_weights
    model = prune(
        _Run(task, data, dense, groups, get_schedule(candidate.schedule), seed, round_to, on_round), candidate
    )
    accuracy = training.accuracy(model, data.validation)
    kept = {group.name: len(model.get_submodule(group.name).weight) for group in groups}
    return TrialResult(model, {"accuracy": accuracy} | measure.measure(model, task.example_input), kept)


def _prune_channels(run: _Run, candidate: Candidate) -> nn.Module:
    """Remove whole channels, round by round; the network gets smaller each time."""
    model = run.dense.model
    left = {group.name: list(range(group.channels)) for group in run.groups}
    for t in run.rounds():
        present = find_groups(model, run.task.example_input, run.task.keep)
        targets = {
            g.name: channels_kept(g.channels, run.schedule.at(candidate.of(g.name), t), run.round_to)
            for g in run.groups
        }
        gone = channels_to_remove(
            model, present, candidate.criterion, {name: max(0, len(left[name]) - n) for name, n in targets.items()}
        )
        for name, indices in gone.items():
            left[name] = [channel for i, channel in enumerate(left[name]) if i not in set(indices)]
        if run.schedule.rewind:
            lost = {g.name: sorted(set(range(g.channels)) - set(left[g.name])) for g in run.groups}
            model = remove_channels(run.initial_model(), run.task.example_input, run.groups, lost)
        else:
            model = remove_channels(model, run.task.example_input, present, gone)
        run.train(model, t)
    return model


def _prune_weights(run: _Run, candidate: Candidate) -> nn.Module:
    """Set single weights to zero, round by round, and hold them there while training."""
    model = copy.deepcopy(run.dense.model)
    for t in run.rounds():
        sparsity = {g.name: run.schedule.at(candidate.of(g.name), t) for g in run.groups}
        masks = weight_masks(model, run.groups, candidate.criterion, sparsity)
        if run.schedule.rewind:
            model = run.initial_model()
        weights = dict(model.named_parameters())

        @torch.no_grad()
        def apply_masks(weights=weights, masks=masks) -> None:
            for name, mask in masks.items():
                weights[name].mul_(mask)

        apply_masks()
        run.train(model, t, after_step=apply_masks)
    return model


@dataclass(frozen=True)
class _Run:
    """What stays the same through the rounds of one trial."""

    task: Task
    data: Splits
    dense: Dense
    groups: Groups
    schedule: Schedule
    seed: int
    round_to: int
    on_round: Callable[[float], None]

    def rounds(self) -> list[float]:
        return [number / self.schedule.rounds for number in range(1, self.schedule.rounds + 1)]

    def initial_model(self) -> nn.Module:
        model = self.task.build()
        model.load_state_dict(self.dense.initial)
        return model

    def train(self, model: nn.Module, t: float, after_step: Callable[[], None] = lambda: None) -> None:
        recipe, teacher = self.task.training, None
        if not self.schedule.rewind:
            steps = max(1, self.task.recovery.steps // self.schedule.rounds)
            recipe, teacher = replace(self.task.recovery, steps=steps), self.dense.model
        training.train(self.task, model, self.data.train, recipe, self.seed, teacher, after_step)
        if t < 1:
            self.on_round(training.accuracy(model, self.data.validation))
