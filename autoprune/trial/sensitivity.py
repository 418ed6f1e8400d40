"""How much a network minds losing each of its groups, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from autoprune.base.device import CPU
from autoprune.base.progress import note, track
from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.prune.criteria import get_criterion
from autoprune.prune.groups import Group, Groups, removed_positions
from autoprune.prune.removal import cut, remove_channels
from autoprune.supernet import supernet
from autoprune.supernet.subnets import lacking
from autoprune.task.accepted import accepted
from autoprune.task.find import load_task
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loading

RATIOS = (0.25, 0.5, 0.75, 15 / 16)
"""The sparsities at which each group is probed."""
EXAMPLES = 1024
"""Validation examples that a probe looks at, at most: a stratified sample, the same for all groups."""

Curve = list[tuple[float, float]]
"""``(sparsity, accuracy or loss)`` pairs, the first of sparsity 0."""


class Probe(NamedTuple):
    """What a network is without a part of each group alone, by the group's name."""

    quality: dict[str, Curve]
    loss: dict[str, Curve]


def probe(
    task: Task,
    data: Splits,
    model: nn.Module,
    ranked: nn.Module,
    groups: Groups,
    criterion: str,
    seed: int = 0,
    round_to: int = 8,
) -> Probe:
    """Prune each group of ``model`` alone at :data:`RATIOS`, re-estimate its batch norms, and evaluate it.

    Nothing is trained (Li et al. 2017, section 3.2; with re-estimated statistics as in EagleEye, Li et al. 2020).

    Args:
        ranked: the network whose channels ``criterion`` ranks; ``model`` itself, or the dense one if ``model`` is the
            supernet.
        round_to: kept channels are a multiple of this.
    """
    seen = loading.read_once(loading.sample_of(data.validation, EXAMPLES, seed), evaluation.BATCH_SIZE)
    order = supernet.order(task, data, ranked, groups, criterion, seed)
    gone = {ratio: lacking(order, groups, ratio, round_to) for ratio in RATIOS}
    whole, kept = evaluation.quality_and_loss(task, model, seen), supernet.calibration_kept(task, data, seed)
    found = Probe({g.name: [(0.0, whole[0])] for g in groups}, {g.name: [(0.0, whole[1])] for g in groups})
    for group in track(groups, "group probed", len(groups)):
        for ratio in RATIOS:
            units = gone[ratio].get(group.name, [])
            sparsity = len(units) / group.channels
            if sparsity <= found.quality[group.name][-1][0]:
                continue
            subnet = cut(model, removed_positions(groups, {group.name: units}))
            supernet.recalibrate(task, subnet, kept, seed)
            quality, loss = evaluation.quality_and_loss(task, subnet, seen)
            found.quality[group.name].append((round(sparsity, 6), quality))
            found.loss[group.name].append((round(sparsity, 6), loss))
            note("{:.3f} without {:.0%} of {}".format, quality, sparsity, group.name)
    return found


def task_curves(
    reference: str, criterion: str = "l1_norm", on_supernet: bool = False, device: torch.device = CPU
) -> dict[str, Curve]:
    """Return the accuracy of a task's dense model without a part of each group alone, by the group's name.

    Args:
        reference: of the task, see :func:`autoprune.task.find.load_task`.
        on_supernet: probe the supernet, which is trained now if the cache has none.
        device: where the network is trained and judged.

    Raises:
        UserError: an unknown task or criterion, or one that removes no whole channels.
    """
    task = load_task(reference)
    if not get_criterion(criterion).structured:
        raise UserError(f"criterion {criterion} removes no whole channels: use l1_norm, l2_norm, fpgm or another")
    data = task.splits()
    trained = dense.load_or_train(task, data, device=device)
    model = supernet.load_or_train(task, data, trained, trained.groups, criterion) if on_supernet else trained.model
    return probe(task, data, model, trained.model, trained.groups, criterion).quality


def task_sensitivities(task: Task, share: float = 0.5, width: bool = False) -> dict[str, float]:
    """Return the validation accuracy that a task's dense model loses without ``share`` of each group, by group name.

    Each group is pruned alone, and nothing is fine-tuned.

    Args:
        width: whether groups under a norm are among them.
    """
    data = task.splits()
    trained = dense.load_or_train(task, data, width=width)

    def score(model) -> float:
        return -task.metric.cost(evaluation.quality(task, model, data.validation))

    return sensitivities(trained.model, task.example, trained.groups, score, share)


def sensitivities(
    model: nn.Module, example_input: Any, groups: Groups, score: Callable[[nn.Module], float], share: float = 0.5
) -> dict[str, float]:
    """Return what ``score`` (accuracy, say) loses when ``share`` of one group alone goes, by group name.

    The units of the smallest L1 norm go; nothing is fine-tuned. It costs one scoring for each group.
    """
    dense = score(model)
    lost = {}
    for group in track(groups, "group probed", len(groups)):
        weakest = unit_norms(model, group).argsort()[: int(group.channels * share)].tolist()
        lost[group.name] = dense - score(remove_channels(model, example_input, groups, {group.name: weakest}))
    return lost


@torch.no_grad()
def unit_norms(model: nn.Module, group: Group) -> Tensor:
    """Return the L1 norm of each unit's weights in all producers, shape ``(channels,)``."""
    model, norms = accepted(model), torch.zeros(group.channels + 1)
    for part in group.slices:
        if part.role == "out":
            weight = model.get_parameter(part.parameter).detach().cpu().movedim(part.dim, 0).flatten(1)
            norms.index_add_(0, part.unit.long() % (group.channels + 1), weight.abs().sum(1).float())
    return norms[:-1]
