"""One recovery for all structured candidates: a training in which every pruned version of the network takes part.

Each step trains the smallest version and two random ones, on the labels and on the outputs of the dense network: after
the sandwich rule of universally slimmable networks (Yu & Huang 2019) and the distillation of Once-for-All (Cai et al.
2020), whose teacher is the network as it was. A version takes its channels in the order of one criterion, the same for
all versions, and runs really smaller; its gradients reach the weights that all share. Afterwards a candidate needs no
training of its own: it takes its part of the supernet's weights and re-estimates its batch norm.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from autoprune import cache
from autoprune.base import streams
from autoprune.base.progress import note, track
from autoprune.base.tree import device_of, to_device, weights_of
from autoprune.errors import TrialFailure
from autoprune.prune.blocks import Block
from autoprune.prune.criteria import Context, channel_order, get_criterion
from autoprune.prune.dense import Dense
from autoprune.prune.groups import Groups
from autoprune.supernet.resizable import Resizable
from autoprune.supernet.subnets import Subnets, constants
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.train import batch_norm, evaluation, loading
from autoprune.train.layout import Layout
from autoprune.train.optimization import Optimization

LABELS = 0.3
"""The labels' share of a version's loss; the rest is what the teacher says (``experiments/supernet_recipe.py``)."""

LENGTH = 6
"""The most steps of the supernet's training, in recoveries."""

SUBNETS, EXAMPLES = 4, 1024
"""Fixed random versions, and validation examples (a stratified sample), that say whether the training still helps."""

NEAR = 0.01
"""What a subnet may lack of the metric before its training, to begin between the dense and the supernet's weights."""

GAIN = 0.001
"""By how much the metric of the fixed subnets rises as long as the training helps, as a limit on the drop counts it."""


def load_or_train(
    task: Task,
    data: Splits,
    dense: Dense,
    groups: Groups,
    criterion: str,
    seed: int = 0,
    round_to: int = 8,
    blocks: tuple[Block, ...] = (),
) -> nn.Module:
    """Return the network whose weights serve every version, from the cache or newly trained (then cached).

    It is trained for ``task.supernet_steps``; without these for six times the recovery steps at most, and it ends
    sooner when the mean validation accuracy of some fixed versions no longer rises.

    Args:
        dense: its weights are the start, and the criterion ranks its channels.
        groups: of the dense model, no block dropped.
        criterion: a channel criterion; each has a training of its own.
        blocks: residual blocks that a candidate may lack.

    Raises:
        TrialFailure: the loss became NaN.
    """
    recipe = supernet_recipe(task)

    def make(file: Path) -> None:
        subnets = Subnets.in_order(order(task, data, dense.model, groups, criterion, seed), groups, round_to, blocks)
        ends = _never if task.supernet_steps else _Plateau(task, data, subnets, seed)
        model = train_supernet(task, data, dense.model, subnets, recipe, seed, ends)
        torch.save(weights_of(model), file)

    key = key_of(task, dense, groups, criterion, seed, round_to, blocks)
    file = cache.cached("supernet", task.name, key, ".pt", make)
    model = copy.deepcopy(dense.model)
    model.load_state_dict(_weights_in(file))
    return model.eval()


@lru_cache(maxsize=4)
def _weights_in(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights in a file of the cache, which never changes: a process that lives reads it once."""
    return torch.load(file, weights_only=True)


def key_of(
    task: Task, dense: Dense, groups: Groups, criterion: str, seed: int, round_to: int, blocks: tuple[Block, ...]
) -> str:
    """Return the key of the supernet's weights that :func:`load_or_train` returns for the same arguments."""
    return cache.key_of(
        dense=dense.key,
        groups=groups.prunable,
        recipe=supernet_recipe(task),
        ends_itself=not task.supernet_steps,
        criterion=(criterion, get_criterion(criterion)),
        seed=seed,
        round_to=round_to,
        blocks=blocks,
        constants=(LABELS, SUBNETS, EXAMPLES, *constants()),
    )


def order(
    task: Task, data: Splits, dense: nn.Module, groups: Groups, criterion: str, seed: int = 0
) -> dict[str, list[int]]:
    """Return each group's channels, those that go first first, by group name.

    Whoever takes a part of the supernet's weights has to lose channels in the order in which they were trained, however
    few groups or channels are asked for; so all ask here.
    """
    context = Context(task, data.train, seed, max(1, task.recovery.steps))
    return channel_order(dense, groups, criterion, context)


def _never(step: int, model: nn.Module) -> bool:
    return False


@dataclass
class _Plateau:
    """Says when the mean metric of some fixed versions has not risen for two checks."""

    task: Task
    data: Splits
    subnets: Subnets
    seed: int
    best: float | None = None
    since: int = 0

    def __call__(self, step: int, model: nn.Module) -> bool:
        rng = random.Random(self.seed)
        subnets = [self.subnets.build(model, self.subnets.random(rng)) for _ in range(SUBNETS)]
        mean = sum(_recalibrated_quality(self.task, each, self.data, self.seed) for each in subnets) / SUBNETS
        metric = self.task.metric
        better = self.best is None or metric.drop(self.best, mean) > GAIN
        self.since = 0 if better else self.since + 1
        self.best = mean if self.best is None else min(self.best, mean, key=metric.cost)
        return self.since >= 2


def supernet_recipe(task: Task) -> Recipe:
    """Return the recipe of the supernet's training: the task's steps for it, or as many as six recoveries at most.

    SGD takes three times the recovery's rate: after as many steps all versions were better, by one to two points on the
    benchmark's tasks (``experiments/supernet_recipe.py``). Adam scales its steps by itself.
    """
    faster, recovery = 3 if task.recovery.optimizer == "sgd" else 1, task.recovery
    steps = task.supernet_steps or LENGTH * recovery.steps
    return replace(recovery, steps=steps, learning_rate=faster * recovery.learning_rate)


def fine_tuning_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe that fine-tunes a version further, whose weights are nearly recovered: half the learning rate.

    At the full rate some versions lose what they had, and at a tenth they gain less (``experiments/further.py``).
    """
    return replace(recipe, learning_rate=recipe.learning_rate / 2, schedule="cosine")


def interpolate(dense: nn.Module, model: nn.Module, part: float) -> nn.Module:
    """Return a network whose weights lie between the dense and the shared ones (Wortsman et al. 2022, WiSE-FT).

    The supernet's weights serve the small versions; one that lacks little is better fine-tuned from nearer to the dense
    ones (``experiments/further.py``).

    Args:
        part: of the way from the dense to the supernet's weights.
    """
    mixed, shared = copy.deepcopy(dense), model.state_dict()
    state = {k: torch.lerp(v, shared[k], part) if v.is_floating_point() else v for k, v in mixed.state_dict().items()}
    mixed.load_state_dict(state)
    return mixed


def lacks_a_point_at_most(nearer: nn.Module, subnet: nn.Module, task: Task, data: Splits, seed: int = 0) -> bool:
    """Say whether a subnet lacks one point of accuracy at most where its training could begin (:func:`interpolate`)."""
    there, here = (_recalibrated_quality(task, copy.deepcopy(model), data, seed) for model in (nearer, subnet))
    return task.metric.drop(there, here) < NEAR


def _recalibrated_quality(task: Task, subnet: nn.Module, data: Splits, seed: int) -> float:
    recalibrate(task, subnet, data, seed)
    return evaluation.quality(task, subnet, loading.sample_of(data.validation, EXAMPLES, seed))


def recalibrate(task: Task, subnet: nn.Module, data: Splits, seed: int = 0) -> None:
    """Re-estimate the batch norms of a version, in place: all that it needs after the supernet's training."""
    batch_norm.reestimate_batch_norm(task, subnet, data.train, _calibration(task), seed)


def calibration_kept(task: Task, data: Splits, seed: int = 0) -> Splits:
    """Return the splits with the training batches alone that :func:`recalibrate` asks for, read once."""
    recipe = _calibration(task)
    found = islice(loading.endless_batches(data.train, recipe.batch_size, seed), recipe.bn_reestimation)
    return data._replace(train=loading.Kept(list(found)))


def _calibration(task: Task) -> Recipe:
    return replace(task.recovery, bn_reestimation=task.recovery.bn_reestimation or 8, batch_size=128)


@streams.by_its_seed
def train_supernet(
    task: Task,
    data: Splits,
    model: nn.Module,
    subnets: Subnets,
    recipe: Recipe,
    seed: int = 0,
    on_check: Callable[[int, nn.Module], bool] = _never,
    check_every: int = 100,
) -> nn.Module:
    """Return a copy of the dense ``model`` whose weights serve every version.

    The learning rate stays up until the end is known, and then falls to nothing (warmup-stable-decay, Hu et al. 2024),
    so that a training which ends early ends as well as a long one.

    Args:
        recipe: ``steps`` (the most), batch size and learning rate.
        on_check: called with the step and the network every ``check_every`` steps; True begins the end.

    Raises:
        TrialFailure: the loss is NaN or infinite.
    """
    teacher, model = copy.deepcopy(model).eval(), copy.deepcopy(model).train()
    rng = random.Random(seed)
    optimization = Optimization(model, recipe)
    warm_up = max(1, recipe.steps // 20)
    decay_from, end = recipe.steps - recipe.steps // 4, recipe.steps
    schedule = LambdaLR(
        optimization.optimizer,
        lambda done: min(1.0, (done + 1) / warm_up, (end - done) / (end - decay_from + 1)),
    )
    device, lay_out = device_of(model), Layout(task, model, recipe)
    batches = loading.endless_batches(data.train, recipe.batch_size, seed, device)
    within = Resizable(model)
    for step, found in track(enumerate(batches, 1), "supernet training step", recipe.steps):
        batch = lay_out(to_device(found, device))
        optimization.begin()
        with torch.no_grad(), optimization.precision():
            target = task.run(teacher, batch)
        asked = [subnets.smallest(), subnets.random_uniform(rng), subnets.random(rng)]
        for subnet in asked:
            with optimization.precision():
                outputs = subnets.run(model, subnet, lambda smaller: task.run(smaller, batch), within)  # noqa: B023
                loss, taught = task.loss(outputs, batch), task.distillation(outputs, target, batch, temperature=1.0)
            if taught is not None:
                loss = LABELS * loss + (1 - LABELS) * taught
            loss = loss / len(asked)
            optimization.backward(loss)
            if not torch.isfinite(loss):
                raise TrialFailure(
                    f"the loss of the supernet's training became {loss.item()} at step {step}: lower its rate"
                )
        optimization.step()
        note("loss {:.3g}".format, loss.detach() * len(asked))
        if step >= end:
            break
        if step % check_every == 0 and step < decay_from:
            if on_check(step, model.eval()):
                decay_from, end = step, step + max(1, step // 3)
            model.train()
        schedule.step()  # not sooner: the end may just have been found
    optimization.finish()
    recalibrate(task, model, data, seed)
    return model.eval()
