"""How far an early judgement of a candidate can be trusted: rank correlation with what became of it later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from autoprune.results.candidate import schedule_of
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned

FEWEST, FEW = 3, 10
"""Below so many pairs there is no correlation; below so many it is a hint."""


@dataclass(frozen=True)
class Agreement:
    """Two judgements of the same networks, an early one and a later one.

    Args:
        early: what the early judgement is, in words.
        later: the same of the later one.
        networks: the trial whose network was judged later, by its id.
        pairs: the metric on validation data, early and later, in the order of ``networks``.
    """

    early: str
    later: str
    networks: tuple[str, ...]
    pairs: tuple[tuple[float, float], ...]

    @property
    def spearman(self) -> float | None:
        """Spearman's rank correlation, in [-1, 1]; None for fewer than three pairs, or where one side is constant."""
        return self._correlation("spearmanr")

    @property
    def kendall(self) -> float | None:
        """Kendall's tau-b, in [-1, 1]: how many more pairs of networks keep their order than change it; or None."""
        return self._correlation("kendalltau")

    @property
    def in_words(self) -> str:
        """What can be trusted, in a sentence."""
        count = f"{len(self.pairs)} network{'' if len(self.pairs) == 1 else 's'}"
        if self.spearman is None:
            why = "too few" if len(self.pairs) < FEWEST else "and one of the judgements is the same for all"
            return f"{count}, {why}: nothing can be said."
        if self.spearman >= 0.8:
            said = "the early judgement ranks networks nearly as the later one does, and can be trusted"
        elif self.spearman >= 0.5:
            said = "the early judgement tells good networks from bad ones, but close ones change places"
        else:
            said = "the early judgement says little about the later one: compare networks by the later one only"
        few = f" With {count} this is a hint, no proof." if len(self.pairs) < FEW else ""
        return f"{said[0].upper()}{said[1:]}.{few}"

    def _correlation(self, name: str) -> float | None:
        from scipy import stats

        early, later = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        if len(self.pairs) < FEWEST or len(set(early)) == 1 or len(set(later)) == 1:
            return None
        return float(getattr(stats, name)(early, later).statistic)


def agreements(experiment: Experiment, fine_tuned: Mapping[str, FineTuned]) -> list[Agreement]:
    """Return how the judgements of a search agree: rung by rung, and with the accuracy after the last fine-tuning.

    Args:
        recovered: the front's networks that were fine-tuned to the end, by trial id.
    """
    found = _between_rungs(experiment)
    tuned = {key: each for key, each in fine_tuned.items() if each.steps and each.validation}
    if tuned:
        pairs = tuple((each.before, fmean(each.validation)) for each in tuned.values())
        found.append(Agreement("in the search", "fine-tuned to the end", tuple(tuned), pairs))
    return found


def effective_budget(trial: Trial) -> float:
    """Return the fraction of its schedule's training steps that a trial had, in [0, 1]."""
    budget = trial.parameters.get("budget")
    if budget is None:
        return 0.0 if schedule_of(trial.parameters) == "supernet" else 1.0
    return float(budget)


def _between_rungs(experiment: Experiment) -> list[Agreement]:
    """Compare each candidate on a rung with the same candidate on the next rung that there is."""
    found = []
    for supernet in (True, False):
        trials = [t for t in experiment.candidates if (schedule_of(t.parameters) == "supernet") is supernet]
        rungs: dict[float, dict[str, Trial]] = {}
        for trial in trials:
            rungs.setdefault(effective_budget(trial), {}).setdefault(_apart_from_budget(trial), trial)
        for low, high in pairwise(sorted(rungs)):
            both = [key for key in rungs[high] if key in rungs[low]]
            if both:
                pairs = tuple((rungs[low][key].quality, rungs[high][key].quality) for key in both)
                names = tuple(rungs[high][key].id for key in both)
                found.append(Agreement(_rung(low, supernet), _rung(high, supernet), names, pairs))
    return found


def _apart_from_budget(trial: Trial) -> str:
    return json.dumps(
        {key: value for key, value in trial.parameters.items() if key not in ("budget", "parent")}, sort_keys=True
    )


def _rung(budget: float, supernet: bool) -> str:
    if supernet:
        return f"supernet, {budget:.0%} of the fine-tuning" if budget else "supernet alone"
    return f"{budget:.0%} of the training"
