"""What searching was worth, in numbers and in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from autoprune.results.experiment import Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.measures import Measure


@dataclass(frozen=True)
class Worth:
    """The chosen network and its rival, each fine-tuned with the same seeds.

    Args:
        trial: of the rival (the chosen one, where :attr:`is_equal`): equal sparsities in the groups that the search
            decided on, the same criterion, schedule and recovery, no block dropped.
        sparsity: of each of its groups.
        rival: what came out of its fine-tunings.
        own: what came out of the chosen network's.
        size: the rival's size, as a share of the chosen network's, in the measure by which they were matched.
        measure: that measure's name.
    """

    trial: Trial
    sparsity: float
    rival: FineTuned
    own: FineTuned
    size: float
    measure: str

    @property
    def is_equal(self) -> bool:
        """Whether the chosen network keeps the channels that equal sparsities leave: then it has no rival."""
        return self.rival is self.own

    def gain(self, metric: Measure) -> tuple[float, float, float]:
        """Return by how much the chosen network is better on the test split, and the 95 % interval over the seeds.

        Welch's interval of a difference of means (Welch 1947). It says nothing of other test examples. With one seed
        there is none: its ends are NaN.
        """
        from scipy.stats import ttest_ind

        own, rival = ([-metric.cost(value) for value in each.test] for each in (self.own, self.rival))
        difference = fmean(own) - fmean(rival)
        if min(len(own), len(rival)) < 2:
            return difference, math.nan, math.nan
        if len({*own}) == len({*rival}) == 1:
            return difference, difference, difference
        interval = ttest_ind(own, rival, equal_var=False).confidence_interval(0.95)
        return difference, float(interval.low), float(interval.high)

    def sentence(self, metric: Measure) -> str:
        """Return what searching was worth, for people."""
        if self.is_equal:
            return (
                f"Equal sparsities would have done: {self.sparsity:.1%} of each group leaves just the channels that "
                "the chosen network keeps."
            )
        gain, low, high = self.gain(metric)
        unit = " points" if metric.is_share else ""
        if low > 0:
            verdict = "Searching was worth its time"
        elif high < 0:
            verdict = "Equal sparsities would have been better"
        else:
            verdict = "Equal sparsities would have done" if high == high else "One seed cannot tell what searching gave"
        between = f", 95 % interval {metric.difference(low)} to {metric.difference(high)}" if high == high else ""
        gained, better = metric.difference(abs(gain)).lstrip("+"), "better" if gain >= 0 else "worse"
        seeds = f"{len(self.own.test)} seed{'' if len(self.own.test) == 1 else 's'}"
        return (
            f"{verdict}: on the test split the chosen network is {gained}{unit} {better} than equal "
            f"sparsities ({self.sparsity:.1%} of each group, {self.size:.2f}x the {self.measure}), trained as long "
            f"({seeds}{between})."
        )
