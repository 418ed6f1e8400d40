"""What is known of an experiment once a model was chosen from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned, read_fine_tuned
from autoprune.results.worth import Worth

if TYPE_CHECKING:
    from autoprune.export import Exported
    from autoprune.export.int8 import Quantized
    from autoprune.export.recovery import Recovery


@dataclass(frozen=True)
class Final:
    """The end of a search.

    Args:
        chosen: the trial whose model is taken home.
        reason: the rule that picked it.
        test_quality: the chosen model's metric on the test split.
        dense_test_quality: the dense model's.
        latency_ms: milliseconds for one example by trial id, and ``dense``; measured in turn after the search.
        files: the exported files, by format.
        test_examples: size of the test split.
        test_intervals: the 95 % interval of each model's, ``pruned`` and ``dense``, where there is one.
        interval: how these were found, or why there are none.
        exported: what is known of each file, by format.
        left_out: why formats that were asked for have no file, by format.
        cards: the model card's files.
        recovery: what further fine-tuning did before the export, if there was any.
        quantized: how the eight-bit file came about, if there is one.
        fine_tuned: the networks of the front, fine-tuned to the end, by trial id; empty if only one was taken home.
        worth: the chosen network beside equal sparsities, where the whole front was fine-tuned.
    """

    chosen: Trial
    reason: str
    test_quality: float | None = None
    dense_test_quality: float | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    test_examples: int = 0
    test_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    interval: str = ""
    exported: dict[str, Exported] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    cards: tuple[Path, ...] = ()
    recovery: Recovery | None = None
    quantized: Quantized | None = None
    fine_tuned: dict[str, FineTuned] = field(default_factory=dict)
    worth: Worth | None = None


def fine_tuned_of(experiment: Experiment, final: Final | None = None) -> dict[str, FineTuned]:
    """Return the front's networks that were fine-tuned to the end, by trial id; none before the end of a search."""
    if final and final.fine_tuned:
        return final.fine_tuned
    return read_fine_tuned(experiment.folder)[0]
