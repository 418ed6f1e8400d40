"""What comes before a search: the supernet, the sensitivity of each group, and the first candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune import cache
from autoprune.base.tree import device_of, to_device
from autoprune.errors import UserError
from autoprune.prune.allocation import allocate
from autoprune.prune.blocks import Block, block_importance, choose_blocks, find_blocks
from autoprune.prune.criteria import get_criterion, unstructured
from autoprune.prune.dense import Dense
from autoprune.prune.size_model import size_model
from autoprune.results.candidate import Candidate
from autoprune.results.prepared import Prepared
from autoprune.search.warm_start import first_candidates
from autoprune.supernet import supernet
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loading
from autoprune.trial.sensitivity import EXAMPLES, RATIOS, Probe, probe

ALLOCATIONS = (("lamp", 0.8), ("erk", 0.8), ("lamp", 0.5), ("erk", 0.5))
"""Published rules, and the fraction of the parameters that each is to remove."""


def prepare_search(
    task: Task,
    data: Splits,
    dense: Dense,
    candidate: Candidate,
    seed: int = 0,
    round_to: int = 8,
    recipe: Mapping[str, Any] | None = None,
) -> Prepared:
    """Return what a tuner may know before its first candidate.

    With the schedule ``supernet`` the supernet is trained now, if its cache has none, and it is the network that
    is probed. The probe is cached by content as well.

    Args:
        candidate: its criterion and its schedule are the search's.
        round_to: kept channels are a multiple of this.
        recipe: the recovery recipe, if one was searched for: to be reported.

    Raises:
        TrialFailure: the supernet's training diverged.
    """
    groups = dense.groups
    sizes = size_model(dense.model, task.example, groups, round_to)
    criterion = candidate.criterion if get_criterion(candidate.criterion).structured else "l1_norm"
    blocks: tuple[Block, ...] = ()
    if candidate.blocks:
        blocks = find_blocks(dense.model, task.example, task.keep)
        blocks = choose_blocks(blocks, sorted(candidate.blocks), task.name)
    found = _probe(task, data, dense, criterion, candidate.schedule == "supernet", seed, round_to, blocks)
    dispensable: list[str] = []
    if blocks:
        size = task.recovery.batch_size
        batch = next(loading.batches(loading.sample_of(data.train, size, seed), size))
        batch = to_device(batch, device_of(dense.model))
        rise = block_importance(dense.model, blocks, lambda model: evaluation.loss_of(task, model, batch))
        dispensable = sorted(rise, key=rise.__getitem__)
    allocations = []
    for method, ratio in ALLOCATIONS:
        try:
            allocations.append(allocate(dense.model, groups, ratio, method))
        except UserError:  # its groups do not hold so much
            continue
    return Prepared(
        dense=dense.measures,
        metric=task.metric.name,
        sizes=sizes,
        sensitivity=found.quality,
        losses=found.loss,
        criterion=candidate.criterion,
        schedule=candidate.schedule,
        first=first_candidates(sizes, found.loss, allocations, candidate, dispensable),
        unstructured=unstructured(),
        recipe=recipe or {},
    )


def _probe(
    task: Task,
    data: Splits,
    dense: Dense,
    criterion: str,
    on_supernet: bool,
    seed: int,
    round_to: int,
    blocks: tuple[Block, ...],
) -> Probe:
    def make(file: Path) -> None:
        model = dense.model
        if on_supernet:
            model = supernet.load_or_train(task, data, dense, dense.groups, criterion, seed, round_to, blocks)
        found = probe(task, data, model, dense.model, dense.groups, criterion, seed, round_to)
        file.write_text(json.dumps(found._asdict()))

    weights = supernet.key_of(task, dense, dense.groups, criterion, seed, round_to, blocks) if on_supernet else None
    key = cache.key_of(
        dense=dense.key,
        supernet=weights,
        recipe=task.recovery,
        criterion=(criterion, get_criterion(criterion)),
        seed=seed,
        round_to=round_to,
        constants=(RATIOS, EXAMPLES),
    )
    return Probe(**json.loads(cache.cached("probe", task.name, key, ".json", make).read_text()))
