"""The trained dense model of a task: trained once, kept in a cache that goes by content, shared by all trials."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from autoprune import measure, training
from autoprune.errors import UserError
from autoprune.paths import cache_dir
from autoprune.pruning.groups import Groups, find_groups
from autoprune.task import Recipe, Splits, Task


@dataclass(frozen=True)
class Dense:
    """A task's dense model.

    Args:
        model: the trained network, in evaluation mode.
        initial: the weights it had before training, which lottery tickets rewind to; None if a checkpoint was given
            without them.
        measures: its ``accuracy`` on the validation split, ``params``, ``macs``, ``bytes`` and ``latency_ms``.
        key: names it by content.
        groups: its coupled channel groups, found once for all trials.
    """

    model: nn.Module
    initial: dict[str, Tensor] | None
    measures: dict[str, float]
    key: str
    groups: Groups | None = None


def prepare(
    task: Task,
    data: Splits,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    initial: str | Path | None = None,
) -> Dense:
    """Return the dense model: the checkpoint's, else the cache's, else a newly trained one (then cached).

    Args:
        checkpoint: a state dict of the trained model.
        initial: a state dict of the weights that the checkpoint's training began with. Without it what the schedules
            that go back to them would need is not known: a network built anew has others.

    Raises:
        UserError: the checkpoint or the initial weights cannot be read, or do not fit the task's model.
    """
    model = task.build(seed)
    if initial:
        load_checkpoint(model, initial, task.name)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if checkpoint:
        load_checkpoint(model, checkpoint, task.name)
    key = _key(task, data, model, seed)
    file = cache_dir() / "dense" / f"{task.name}-{key}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            if not checkpoint:
                training.train(task, model, data.train, task.training, seed)
            measures = {"accuracy": training.accuracy(model, data.validation)}
            measures |= measure.measure(model, task.example_input)
            _write(file.with_suffix(".json"), json.dumps(measures).encode())
            _save(file, model.state_dict())
        model.load_state_dict(torch.load(file, weights_only=True))
        measures = json.loads(file.with_suffix(".json").read_text())
    groups = find_groups(model.eval(), task.example_input, task.keep)
    return Dense(model, None if checkpoint and not initial else before, measures, key, groups)


def load_checkpoint(model: nn.Module, checkpoint: str | Path, task_name: str) -> None:
    """Load a state dict into ``model``.

    Raises:
        UserError: the file is missing, is no state dict, or does not fit.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise UserError(f"checkpoint {checkpoint} does not exist")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise UserError(
            f"checkpoint {checkpoint} is not a plain state dict: save it with torch.save(model.state_dict(), FILE)"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split()).partition(": ")[2] or str(error)
        raise UserError(f"checkpoint {checkpoint} does not fit the model of task {task_name}: {why[:300]}") from None


def _key(task: Task, data: Splits, model: nn.Module, seed: int) -> str:
    """Hash all that decides the trained weights: the starting weights, the recipe, the data and the seed."""
    digest = hashlib.sha256(json.dumps([_told(task.training), seed, torch.__version__]).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    for split in data[:2]:
        digest.update(str(len(split)).encode())
        for i in torch.linspace(0, len(split) - 1, min(len(split), 64)).long().tolist():
            for part in split[i]:
                digest.update(torch.as_tensor(part).numpy().tobytes())
    return digest.hexdigest()[:12]


def _told(recipe: Recipe) -> dict[str, Any]:
    """Return the fields that differ from their defaults, so that a new field with a default renames no old model."""
    return {f.name: value for f in fields(recipe) if (value := getattr(recipe, f.name)) != f.default}


def _save(file: Path, state: dict[str, Tensor]) -> None:
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def _write(file: Path, content: bytes) -> None:
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(file)
