"""How well an early judgement of a candidate ranks it: rank correlation with what became of it later.

Larger networks are better by either judgement, so that a plain correlation is near 1 whatever the judgement is worth.
What a search needs is to tell good networks from bad ones of one size: that is the correlation at equal size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from autoprune.results.candidate import schedule_of
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.pareto import size_of

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
        sizes: of the networks, in the same order; empty where they are not known.
    """

    early: str
    later: str
    networks: tuple[str, ...]
    pairs: tuple[tuple[float, float], ...]
    sizes: tuple[float, ...] = ()

    @property
    def spearman(self) -> float | None:
        """Spearman's rank correlation, in [-1, 1]; None for fewer than three pairs, or where one side is constant."""
        from scipy.stats import spearmanr

        early, later = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        if len(self.pairs) < FEWEST or len(set(early)) == 1 or len(set(later)) == 1:
            return None
        return float(spearmanr(early, later).statistic)

    @property
    def at_equal_size(self) -> float | None:
        """Spearman's partial rank correlation given the size, in [-1, 1]; None where the sizes leave nothing to say."""
        overall = self.spearman
        if overall is None or len(self.pairs) <= FEWEST or len(set(self.sizes)) < 2:
            return None
        from scipy.stats import spearmanr

        early, later = (float(spearmanr(each, self.sizes).statistic) for each in zip(*self.pairs, strict=True))
        left = (1 - early**2) * (1 - later**2)
        return None if left < 1e-9 else max(-1.0, min(1.0, (overall - early * later) / left**0.5))

    @property
    def in_words(self) -> str:
        """What the early judgement tells, in a sentence."""
        count = f"{len(self.pairs)} network{'' if len(self.pairs) == 1 else 's'}"
        if self.spearman is None:
            why = "too few" if len(self.pairs) < FEWEST else "and one of the judgements is the same for all"
            return f"{count}, {why}: nothing can be said."
        found, of = (self.spearman, "networks") if not self.sizes else (self.at_equal_size, "networks of equal size")
        if found is None:
            return f"{count}: their sizes explain both judgements, and nothing can be said of networks of equal size."
        if found >= 0.8:
            said = f"the early judgement ranks {of} nearly as the later one does"
        elif found >= 0.5:
            said = f"the early judgement tells good {of} from bad ones, but close ones change places"
        else:
            said = f"the early judgement says little of {of}: compare them by the later one only"
        said += f" (rank correlation {found:.2f}; {self.spearman:.2f} over all sizes)" if self.sizes else ""
        few = f" With {count} this is a hint, no proof." if len(self.pairs) < FEW else ""
        return f"{said[0].upper()}{said[1:]}.{few}"


def agreements(experiment: Experiment, fine_tuned: Mapping[str, FineTuned]) -> list[Agreement]:
    """Return how the judgements of a search agree: rung by rung, and with the accuracy after the last fine-tuning.

    Args:
        recovered: the front's networks that were fine-tuned to the end, by trial id.
    """
    found = _between_rungs(experiment)
    tuned = {key: each for key, each in fine_tuned.items() if each.steps and each.validation}
    if tuned:
        pairs = tuple((each.before, fmean(each.validation)) for each in tuned.values())
        by_id = {trial.id: trial for trial in experiment.trials}
        sizes = _sizes(experiment, [by_id[key] for key in tuned if key in by_id])
        found.append(Agreement("in the search", "fine-tuned to the end", tuple(tuned), pairs, sizes))
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
                sizes = _sizes(experiment, [rungs[high][key] for key in both])
                found.append(Agreement(_rung(low, supernet), _rung(high, supernet), names, pairs, sizes))
    return found


def _sizes(experiment: Experiment, trials: Sequence[Trial]) -> tuple[float, ...]:
    size = size_of(experiment.objectives, metric=experiment.metric)
    return tuple(trial.measures[size] for trial in trials)


def _apart_from_budget(trial: Trial) -> str:
    return json.dumps(
        {key: value for key, value in trial.parameters.items() if key not in ("budget", "parent")}, sort_keys=True
    )


def _rung(budget: float, supernet: bool) -> str:
    if supernet:
        return f"supernet, {budget:g} recover{'y' if budget == 1 else 'ies'}" if budget else "supernet alone"
    return f"{budget:.0%} of the training"
