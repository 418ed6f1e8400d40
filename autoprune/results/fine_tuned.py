"""The networks of the front that were fine-tuned to the end: how good they really are, seed by seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoprune.base.files import read_object, write_text
from autoprune.results.measures import Measure

FILE = "recovered.json"
"""In the experiment's folder."""


def write_fine_tuned(folder: Path, fine_tuned: Mapping[str, FineTuned]) -> Path:
    """Keep in the experiment's folder what the end of a search found, for the commands that come after it."""
    file = folder / FILE
    content = {key: asdict(each) | {"file": str(each.file)} for key, each in fine_tuned.items()}
    write_text(file, json.dumps(content, indent=1) + "\n")
    return file


def read_fine_tuned(folder: Path) -> tuple[dict[str, FineTuned], str | None]:
    """Return what :func:`write_fine_tuned` wrote into an experiment's folder, and what is damaged about it, or None.

    A damaged file counts as none: the fine-tunings' own files are still there.
    """
    content, damage = read_object(folder / FILE)
    try:
        return {key: _fine_tuned(each) for key, each in content.items()}, damage
    except (TypeError, KeyError, ValueError):
        return {}, f"{FILE} does not hold what AutoPrune wrote"


def _fine_tuned(each: Mapping[str, Any]) -> FineTuned:
    validation, test = (tuple(map(float, each[name])) for name in ("validation", "test"))
    failures, errors = tuple(each.get("failures", ())), tuple(map(float, each.get("errors", ())))
    return FineTuned(each["before"], validation, test, Path(each["file"]), each["steps"], failures, errors)


def fine_tuned_values(each: FineTuned) -> dict[str, float]:
    """Return means and standard deviations over the seeds (0 for a single one), as plain numbers in [0, 1]."""
    return {
        "validation": fmean(each.validation),
        "validation_std": _std(each.validation),
        "test": fmean(each.test),
        "test_std": _std(each.test),
        "seeds": len(each.validation),
    }


def _std(values: tuple[float, ...]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class FineTuned:
    """A network of the front, fine-tuned to the end, several times over.

    Args:
        before: the validation accuracy by which the search judged it.
        validation: the validation accuracy after fine-tuning with each seed.
        test: the test accuracy of the same networks.
        file: the state dict of the one that is best on validation data.
        steps: optimiser steps of each fine-tuning; 0 where the search had recovered it in full already.
        failures: why fine-tunings failed, if any did; the network as it was judged stands for each of them.
        errors: the standard error, over the validation examples, of each one's drop from the dense model; empty where
            there is no telling.
    """

    before: float
    validation: tuple[float, ...]
    test: tuple[float, ...]
    file: Path
    steps: int
    failures: tuple[str, ...] = ()
    errors: tuple[float, ...] = ()

    def drop(self, metric: Measure, dense: float) -> tuple[float, float | None]:
        """Return the mean drop from the dense model on validation data, and how far the truth may be from it.

        The latter is a standard error: over the examples, and over the seeds, of which one is taken home. None
        where nothing is known of it.
        """
        drops = [metric.drop(value, dense) for value in self.validation]
        if len(self.errors) < len(drops):
            return fmean(drops), None
        return fmean(drops), math.hypot(_std(tuple(drops)), math.sqrt(fmean(error * error for error in self.errors)))
