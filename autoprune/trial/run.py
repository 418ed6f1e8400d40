"""One trial: prune, recover, measure. A function that needs no experiment around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from autoprune.errors import TrialFailure, UserError
from autoprune.measure import measure
from autoprune.prune.allocation import allocate
from autoprune.prune.blocks import Block, choose_blocks, drop, find_blocks, remove_blocks
from autoprune.prune.criteria import Context, choose_channels, choose_weights, get_criterion
from autoprune.prune.dense import Dense
from autoprune.prune.find import find_groups
from autoprune.prune.groups import Groups
from autoprune.prune.masks import DynamicMasks
from autoprune.prune.removal import remove_channels
from autoprune.prune.schedules import Schedule, check_blocks, check_initial, check_pair, get_schedule
from autoprune.results import finite
from autoprune.results.candidate import Candidate, channels_kept
from autoprune.supernet import supernet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loop
from autoprune.trial.ancestry import Parent


@dataclass(frozen=True)
class TrialResult:
    """What a trial found.

    Args:
        model: the pruned, recovered network, in evaluation mode.
        measures: the task's metric on the validation split (of the removed network; of the masked weights where they
            are unstructured), ``params`` (non-zeros), ``macs``, ``bytes`` and ``latency_ms``.
        kept: channels left in each group; 0 in one that went with a dropped block.
        masks: where single weights went, ones and zeros by parameter name; empty if whole channels did.
    """

    model: nn.Module
    measures: dict[str, float]
    kept: dict[str, int]
    masks: dict[str, Tensor] = field(default_factory=dict)


def run_trial(
    task: Task,
    candidate: Candidate,
    data: Splits,
    dense: Dense,
    seed: int = 0,
    round_to: int = 8,
    on_round: Callable[[float], None] = lambda quality: None,
    groups: Groups | None = None,
    repeat: int = 0,
    parent: Parent | None = None,
) -> TrialResult:
    """Carry out one candidate.

    Args:
        seed: of the recovery; the same seed gives the same accuracy on the same machine.
        round_to: kept channels are a multiple of this where a group is large enough.
        on_round: called with the validation metric after every round of the schedule but the last.
        groups: the dense model's groups, if not those that ``dense`` holds.
        repeat: another number gives the candidate's own training another seed; the supernet's weights stay.
        parent: the network of ``candidate.parent``, if it has one.

    Raises:
        TrialFailure: the loss or a measure is not a finite number, or a layer would be left empty; or its parent lacks
            what the candidate keeps.
        UserError: the candidate names an unknown criterion, schedule, group or block, or ones that do not go together,
            or its schedule needs initial weights that ``dense`` has not.
    """
    groups = groups or dense.groups or find_groups(dense.model, task.example, task.keep)
    candidate = candidate.spread({group.name: group.kind for group in groups})
    unknown = set(candidate.sparsity) - {group.name for group in groups}
    if unknown:
        raise UserError(f"no coupled group is called {min(unknown)!r}: see `autoprune groups {task.name}`")
    criterion, schedule = get_criterion(candidate.criterion), get_schedule(candidate.schedule)
    check_pair(candidate.schedule, candidate.criterion, criterion)
    if dense.initial is None:
        check_initial(candidate.schedule)
    kept = dict.fromkeys((group.name for group in groups), 0)
    masks: dict[str, Tensor] = {}
    blocks: tuple[Block, ...] = ()
    known: tuple[Block, ...] = ()
    if candidate.blocks:
        known = find_blocks(dense.model, task.example, task.keep)
        known = choose_blocks(known, sorted(candidate.blocks), task.name)
        blocks = choose_blocks(known, candidate.dropped, task.name)
    if blocks:
        check_blocks(candidate.schedule)
        shallower = remove_blocks(dense.model, blocks)
        inexact = any(not group.exact for group in groups)
        groups = find_groups(shallower, task.example, task.keep, inexact).named_as_in(groups)
    if candidate.allocation:
        model = remove_blocks(dense.model, blocks) if blocks else dense.model
        looked_at = Context(task, data.train, seed)
        spread = allocate(model, groups, candidate.uniform, candidate.allocation, criterion.structured, looked_at)
        candidate = replace(candidate, sparsity=spread, uniform=0.0, allocation=None)
    run = _Run(task, candidate, data, dense, groups, schedule, seed, round_to, on_round, blocks, known, repeat)
    kept |= {group.name: group.channels for group in groups}
    if candidate.parent is not None:
        model, left = _cut_from_parent(run, parent)
        kept |= left
    elif schedule.retrain == "supernet":
        model, left = _take_subnet(run)
        kept |= left
    elif criterion.structured:
        model, left = _prune_channels(run)
        kept |= left
    elif schedule.grow:
        model, masks = _train_sparse(run)
    else:
        model, masks = _prune_weights(run)
    measures = {task.metric.name: evaluation.quality(task, model, data.validation)}
    measures |= measure.measure(model, task.example)
    return TrialResult(model, finite.checked(measures), kept, masks)


def _prune_channels(run: _Run) -> tuple[nn.Module, dict[str, int]]:
    """Remove whole channels, round by round; the network gets smaller each time."""
    model, groups = run.first_model(), run.groups
    left = {group.name: list(range(group.channels)) for group in groups}
    _warn_of_empty_groups(run)
    for t in run.schedule.times():
        targets = {
            g.name: channels_kept(g.channels, run.schedule.at(run.candidate.of(g.name), t), run.round_to)
            for g in run.groups
        }
        remove = {name: max(0, len(left[name]) - n) for name, n in targets.items()}
        gone, model = choose_channels(model, groups, run.candidate.criterion, remove, run.context)
        for name, indices in gone.items():
            left[name] = [channel for i, channel in enumerate(left[name]) if i not in set(indices)]
        if run.schedule.rewind_to is None:
            model = remove_channels(model, run.task.example, groups, gone)
        else:
            lost = {g.name: sorted(set(range(g.channels)) - set(left[g.name])) for g in run.groups}
            model = remove_channels(run.rewound_model(), run.task.example, run.groups, lost)
        groups = groups.after(gone)
        run.train(model, t)
    return model, {name: len(channels) for name, channels in left.items()}


def _take_subnet(run: _Run) -> tuple[nn.Module, dict[str, int]]:
    """Take the candidate's part of the weights that all candidates share.

    Its channels are chosen in the whole network, blocks and all, as they were when those weights were trained.
    """
    _warn_of_empty_groups(run)
    whole = run.dense.groups or run.groups
    kept = {g.name: channels_kept(g.channels, run.candidate.of(g.name), run.round_to) for g in whole}
    order = supernet.order(run.task, run.data, run.dense.model, whole, run.candidate.criterion, run.seed)
    gone = {g.name: sorted(order[g.name][: g.channels - kept[g.name]]) for g in whole}

    def smaller(weights: nn.Module) -> nn.Module:
        return remove_channels(remove_blocks(weights, run.blocks), run.task.example, run.groups, gone)

    weights = run.supernet_weights(whole)
    model, left = smaller(weights), {group.name: kept[group.name] for group in run.groups}
    if not run.candidate.budget:
        supernet.recalibrate(run.task, model, run.data, run.seed)
        return model, left
    nearer = smaller(supernet.interpolate(run.dense.model, weights, 0.5))
    if supernet.lacks_a_point_at_most(nearer, model, run.task, run.data, run.seed):
        model = nearer
    run.train(model, 1.0)
    return model, left


def _cut_from_parent(run: _Run, parent: Parent | None) -> tuple[nn.Module, dict[str, int]]:
    """Cut a candidate from a network that was recovered before, and train it on.

    Channels go in the order in which all candidates lose them, so that what one keeps, each larger one has.
    """
    recovers = run.schedule.start == "trained" and run.schedule.retrain != "training"
    if parent is None or not recovers or not get_criterion(run.candidate.criterion).structured:
        raise UserError(
            f"candidate {run.candidate.id} is cut from the network of another: it must be given, the criterion must "
            "remove whole channels, and the schedule recover a trained network"
        )
    _warn_of_empty_groups(run)
    whole = run.dense.groups or run.groups
    order = supernet.order(run.task, run.data, run.dense.model, whole, run.candidate.criterion, run.seed)
    kept = {g.name: channels_kept(g.channels, run.candidate.of(g.name), run.round_to) for g in run.groups}
    if parent.candidate.dropped != run.candidate.dropped or any(n > parent.kept.get(g, 0) for g, n in kept.items()):
        raise TrialFailure(f"parent {run.candidate.parent} lacks what the candidate keeps: name a larger one")
    there = {g.name: sorted(order[g.name][: g.channels - parent.kept[g.name]]) for g in run.groups}
    gone = {}
    for group in run.groups:
        left = [channel for channel in range(group.channels) if channel not in set(there[group.name])]
        lost = set(order[group.name][: group.channels - kept[group.name]])
        gone[group.name] = [i for i, channel in enumerate(left) if channel in lost]
    model = parent.model.to(run.dense.device)
    model = remove_channels(model, run.task.example, run.groups.after(there), gone)
    run.train(model, 1.0)
    return model, kept


def _warn_of_empty_groups(run: _Run) -> None:
    for group in run.groups:
        sparsity = run.candidate.of(group.name)
        if round(group.channels * (1 - sparsity)) < 1:
            warnings.warn(
                f"a sparsity of {sparsity} would empty group {group.name} of {group.channels} channels: one is kept",
                stacklevel=4,
            )


def _prune_weights(run: _Run) -> tuple[nn.Module, dict[str, Tensor]]:
    """Set single weights to zero, round by round, and hold them there while training."""
    model = run.first_model()
    masks: dict[str, Tensor] = {}
    for t in run.schedule.times():
        sparsity = {g.name: run.schedule.at(run.candidate.of(g.name), t) for g in run.groups}
        masks, model = choose_weights(model, run.groups, run.candidate.criterion, sparsity, run.context, within=masks)
        if run.schedule.rewind_to is not None:
            model = run.rewound_model()
        weights = dict(model.named_parameters())

        @torch.no_grad()
        def apply_masks(weights=weights, masks=masks) -> None:
            for name, mask in masks.items():
                weights[name].mul_(mask)

        apply_masks()
        run.train(model, t, after_step=apply_masks)
    return model, masks


def _train_sparse(run: _Run) -> tuple[nn.Module, dict[str, Tensor]]:
    """Train a network that is sparse from the start, while its masks move."""
    model = run.first_model()
    masks, model = choose_weights(model, run.groups, run.candidate.criterion, run.spread_sparsity(model), run.context)
    seed, grow = run.seed + run.repeat, run.schedule.grow
    assert grow is not None  # else its weights do not move
    moving = DynamicMasks(model, masks, grow, run.training_recipe.steps, seed=seed)
    run.train(model, 1.0, before_step=moving.before_step, after_step=moving.after_step)
    return model, moving.masks


@dataclass(frozen=True)
class _Run:
    """What stays the same through the rounds of one trial."""

    task: Task
    candidate: Candidate
    data: Splits
    dense: Dense
    groups: Groups
    schedule: Schedule
    seed: int
    round_to: int
    on_round: Callable[[float], None]
    blocks: tuple[Block, ...]
    droppable: tuple[Block, ...]
    repeat: int

    @property
    def context(self) -> Context:
        steps = max(1, self.task.recovery.steps // self.schedule.rounds)
        return Context(self.task, self.data.train, self.seed, steps)

    def first_model(self) -> nn.Module:
        """Return the network to prune first: a copy, for it is trained."""
        if self.schedule.start == "trained":
            return remove_blocks(self.dense.model, self.blocks)
        return drop(self._initial_model(), self.blocks)

    def rewound_model(self) -> nn.Module:
        """Return the dense network as it was at the point of its training that the schedule rewinds to."""
        model = self._initial_model()
        loop.train(self.task, model, self.data.train, self.task.training, self.seed, stop=self._rewind_step)
        return drop(model, self.blocks)

    def supernet_weights(self, groups: Groups) -> nn.Module:
        """Return the dense network with the weights that all candidates share."""
        how = (self.candidate.criterion, self.seed, self.round_to, self.droppable)
        return supernet.load_or_train(self.task, self.data, self.dense, groups, *how)

    def spread_sparsity(self, model: nn.Module) -> dict[str, float]:
        """Return each group's sparsity; where one number was given, spread by ERK, to the same number of weights."""
        if self.candidate.sparsity or not self.candidate.uniform:
            return {group.name: self.candidate.of(group.name) for group in self.groups}
        producers = [name for group in self.groups for name in group.producers]
        reached = sum(model.get_parameter(f"{name}.weight").numel() for name in producers)
        ratio = self.candidate.uniform * reached / sum(p.numel() for p in model.parameters())
        return allocate(model, self.groups, ratio, "erk", structured=False)

    def train(self, model: nn.Module, t: float, **hooks: Callable[[], None]) -> None:
        """Train the network after the round that ends at ``t``."""
        recipe, teacher, start = self._recipe()
        seed = self.seed + self.repeat
        if self.candidate.parent is not None:  # else each link of a chain would see the same batches
            seed += int(self.candidate.id, 16) // 2
        loop.train(self.task, model, self.data.train, recipe, seed, teacher, start=start, **hooks)
        if t < 1:
            self.on_round(evaluation.quality(self.task, model, self.data.validation))

    @property
    def training_recipe(self) -> Recipe:
        """The dense network's training, as long as the budget allows."""
        return self._within_budget(self.task.training)

    def _recipe(self) -> tuple[Recipe, nn.Module | None, int]:
        if self.schedule.retrain == "training":
            recipe = self.training_recipe
            return recipe, None, int((self.schedule.rewind_to or 0) * recipe.steps)
        recovery = self._within_budget(self.task.recovery)
        if self.candidate.parent is not None:
            return recovery, self.dense.model, 0
        if self.schedule.retrain == "supernet":
            recovery = supernet.fine_tuning_recipe(recovery)
        steps = recovery.steps and max(1, recovery.steps // self.schedule.rounds)
        return replace(recovery, steps=steps), self.dense.model, 0

    def _within_budget(self, recipe: Recipe) -> Recipe:
        budget = self.candidate.budget
        return recipe if budget is None else replace(recipe, steps=round(recipe.steps * budget))

    @property
    def _rewind_step(self) -> int:
        return int((self.schedule.rewind_to or 0) * self.task.training.steps)

    def _initial_model(self) -> nn.Module:
        model = self.task.build().to(self.dense.device)
        assert self.dense.initial is not None  # check_initial was asked
        model.load_state_dict(self.dense.initial)
        return model.eval()
