"""The trained dense model of a task: trained once, kept in a cache that goes by content, shared by all trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autoprune import cache
from autoprune.base.device import CPU
from autoprune.base.fingerprint import fingerprint_data
from autoprune.base.tree import device_of, weights_of
from autoprune.errors import TrialFailure, UserError
from autoprune.measure import measure
from autoprune.prune.find import find_groups
from autoprune.prune.groups import Groups
from autoprune.results.measures import METRIC, STANDARD
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loop
from autoprune.train.fit import check_data
from autoprune.train.metrics import METERS


@dataclass(frozen=True)
class Dense:
    """A task's dense model.

    Args:
        model: the trained network, in evaluation mode.
        initial: the weights it had before training, on the CPU, which lottery tickets rewind to; None if a checkpoint
            was given without them.
        measures: its metric on the validation split, ``params``, ``macs``, ``bytes`` and ``latency_ms``.
        key: names all that decides it, its groups included (:mod:`autoprune.cache`).
        groups: its coupled channel groups, found once for all trials.
        notes: what a user should know of how task and data fit together, a line each.
    """

    model: nn.Module
    initial: dict[str, Tensor] | None
    measures: dict[str, float]
    key: str
    groups: Groups
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return device_of(self.model)


def load_or_train(
    task: Task,
    data: Splits,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    initial: str | Path | None = None,
    device: torch.device | str = CPU,
    width: bool = False,
) -> Dense:
    """Return the dense model: the checkpoint's, else the cache's, else a newly trained one (then cached).

    Args:
        checkpoint: a state dict of the trained model.
        initial: a state dict of the weights that the checkpoint's training began with. Without it what the schedules
            that go back to them would need is not known: a network built anew has others.
        width: whether its groups are also those under a norm (:func:`~autoprune.prune.find.find_groups`).
        device: where it is trained and lies. All that starts from it runs there: criteria, training, evaluation.

    Raises:
        UserError: the checkpoint or the initial weights cannot be read, or do not fit the task's model; data that
            cannot be trained on (:func:`autoprune.train.fit.check_data`); a training that diverges.
    """
    model = task.build(seed)
    if initial:
        load_checkpoint(model, initial, task.name)
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    if checkpoint:
        load_checkpoint(model, checkpoint, task.name)
    model = model.to(device)
    notes = tuple(check_data(task, data, model))
    is_trained = bool(checkpoint) or task.is_trained

    def make(file: Path) -> None:
        try:
            if not is_trained:
                loop.train(task, model, data.train, task.training, seed)
            measures = {task.metric.name: evaluation.quality(task, model, data.validation)}
        except TrialFailure as failure:
            raise UserError(f"the dense model of task {task.name}: {failure}") from None
        measures |= measure.measure(model, task.example)
        torch.save({"weights": weights_of(model), "measures": measures}, file)

    key = training_key(task, data, model, seed, is_trained)
    saved = torch.load(cache.cached("dense", task.name, key, ".pt", make), map_location=CPU, weights_only=True)
    model.load_state_dict(saved["weights"])
    groups = find_groups(model.eval(), task.example, task.keep, allow_inexact=width)
    key = cache.key_of(dense=key, keep=tuple(task.keep), groups=groups.prunable)
    return Dense(model, None if is_trained and not initial else before, saved["measures"], key, groups, notes)


def is_cached(task: Task, data: Splits, seed: int, device: torch.device | str = CPU) -> bool:
    """Whether the dense model that :func:`load_or_train` would train there was trained before."""
    model = task.build(seed).to(device)
    return cache.path("dense", task.name, training_key(task, data, model, seed, False), ".pt").exists()


WITHIN = ("state_dict", "model_state_dict", "model")
"""Where training scripts and Lightning put the state dict in a checkpoint."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before the names of parameters."""


def load_checkpoint(model: nn.Module, checkpoint: str | Path, task_name: str) -> None:
    """Load a state dict into ``model``.

    It may lie within a larger checkpoint (:data:`WITHIN`), and its names may begin with what wrappers put before them
    (:data:`PREFIXES`).

    Raises:
        UserError: the file is missing, is no state dict, or does not fit.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist (looked in {Path.cwd()})")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise UserError(
            f"checkpoint {checkpoint} is not a plain state dict: save it with torch.save(model.state_dict(), FILE)"
        ) from None
    try:
        model.load_state_dict(_unwrapped(state, set(model.state_dict())))
    except (RuntimeError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split()).partition(": ")[2] or str(error)
        raise UserError(f"checkpoint {checkpoint} does not fit the model of task {task_name}: {why[:300]}") from None


def _unwrapped(state: Any, names: set[str]) -> Any:
    """Return the state dict in a checkpoint, by the model's own ``names`` where only a prefix makes the difference."""
    for key in WITHIN:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    found = state
    while isinstance(found, Mapping) and not names <= found.keys():
        prefix = next((each for each in PREFIXES if any(str(name).startswith(each) for name in found)), None)
        if prefix is None:
            return state
        found = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    return found


def training_key(task: Task, data: Splits, model: nn.Module, seed: int, checkpoint: bool) -> str:
    """Return the key of a task's trained dense weights and what is measured of them.

    Args:
        model: the network before the training: its weights, its code and its settings count.
        checkpoint: whether its weights are trained already.
    """
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    owners = {name: first[id(parameter)] for name, parameter in model.named_parameters(remove_duplicate=False)}
    return cache.key_of(
        model=model,
        weights=model.state_dict(),
        tied=tuple((name, owner) for name, owner in owners.items() if name != owner),
        loss=task.loss,
        forward=task.forward,
        distill=task.distill,
        evaluate=task.evaluate,
        meter=_meter_of_a_package(task),
        metric=task.metric if task.metric != METRIC else None,
        fit=task.fit,
        recipe=task.training,
        seed=seed,
        example=tree_map(_kind, task.example),
        train=fingerprint_data(data.train),
        validation=fingerprint_data(data.validation),
        checkpoint=checkpoint,
        device=device.type if (device := device_of(model)).type != "cpu" else None,
    )


def _meter_of_a_package(task: Task) -> Any:
    """Return what computes a task's metric where another package does; None where the task or AutoPrune does."""
    name = task.metric.name
    return METERS[name] if task.evaluate is None and name not in STANDARD and name in METERS else None


def _kind(leaf: Any) -> Any:
    """Return a tensor's shape and type: its values may be random."""
    return (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
