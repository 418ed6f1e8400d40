"""The network that a candidate is cut from, where that is not the dense one: another trial's, already recovered.

Cutting each size from a larger one that was trained, and training on, gives every network of a front what the larger
ones have learned: Yang et al. 2018, NetAdapt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from autoprune.base.files import read_object
from autoprune.errors import TrialFailure
from autoprune.prune.rebuild import rebuild
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import MODEL, RESULT
from autoprune.task.task import Task


@dataclass(frozen=True)
class Parent:
    """A recovered network.

    Args:
        model: in evaluation mode, on the CPU.
        kept: the channels of each group that it has.
        candidate: what it was.
    """

    model: nn.Module
    kept: Mapping[str, int]
    candidate: Candidate


def find_parent(task: Task, name: str, trials: Path) -> Parent:
    """Return the network of the candidate whose id is ``name``.

    Args:
        trials: the folder that holds the trials' folders.

    Raises:
        TrialFailure: no trial there has it; or its files are damaged.
    """
    for file in sorted(trials.glob(f"*/{RESULT}")):
        record, _ = read_object(file)
        candidate = _candidate(record)
        if candidate is None or candidate.id != name:
            continue
        try:
            state = torch.load(file.with_name(MODEL), map_location="cpu", weights_only=True)
            model = rebuild(task.build().cpu(), state, task.example)
        except Exception as error:
            raise TrialFailure(
                f"the model of parent {name}, {file.with_name(MODEL)}, cannot be read: {error}"
            ) from None
        return Parent(model, record["kept"], candidate)
    raise TrialFailure(f"no trial of this search has the network of parent {name}: it was deleted, or never there")


def _candidate(record: Mapping) -> Candidate | None:
    try:
        return Candidate.from_parameters(record["parameters"])
    except Exception:  # a damaged file is another trial's
        return None
