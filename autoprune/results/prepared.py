"""What is learnt about a network before its search: the dense model's trial writes it down, the tuner reads it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.errors import UserError
from autoprune.results.candidate import renamed
from autoprune.results.measures import METRIC
from autoprune.results.size_model import SizeModel

FILE = "prepared.json"
"""In the folder of the trial that wrote it."""

SENSITIVITY = "log/sensitivity.json"
"""In the experiment's folder: the first probe, as the tuner's process leaves it for the pages."""

UNSTRUCTURED = ("level", "level_global", "lamp", "snip", "movement", "random_weights", "synaptic_strength", "nm_2_4")
"""What removed no whole channels before :attr:`Prepared.unstructured` was written down."""


@dataclass(frozen=True)
class Prepared:
    """What a tuner may know before its first candidate.

    Args:
        dense: the dense model's metric, ``params``, ``macs``, ``bytes`` and ``latency_ms``.
        sizes: the parameters and MACs of every candidate.
        sensitivity: for each group alone, ``(sparsity, metric)`` pairs on validation data, the first of sparsity 0.
        losses: the same with the task's loss on the validation split, which is finer than the metric.
        criterion: by which the channels of that probe were chosen.
        schedule: the schedule that the probe stands for: ``supernet`` if it used the supernet's weights.
        first: parameter sets worth trying first.
        unstructured: the criteria that remove no whole channels, so that ``sizes`` says nothing of their candidates.
        recipe: the recovery recipe, where one was searched for (see :mod:`autoprune.trial.recipe_search`).
        metric: the name of the measure that judges networks.
    """

    dense: Mapping[str, float]
    sizes: SizeModel
    sensitivity: Mapping[str, Sequence[tuple[float, float]]]
    losses: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    criterion: str = "l1_norm"
    schedule: str = "one_shot"
    first: Sequence[Mapping[str, Any]] = ()
    unstructured: Collection[str] = UNSTRUCTURED
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metric: str = METRIC.name

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**vars(self), "sizes": self.sizes.to_dict()}

    @classmethod
    def read(cls, file: Path) -> Prepared:
        """Read what a trial wrote.

        Raises:
            UserError: the file is damaged.
        """
        try:
            content = json.loads(file.read_text())
            return cls(**{**renamed(content), "sizes": SizeModel.from_dict(content["sizes"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{file} is damaged: {type(error).__name__}: {' '.join(str(error).split())}") from None
