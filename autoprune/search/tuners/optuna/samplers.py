"""Optuna's samplers by name."""

from __future__ import annotations

from collections.abc import Callable

from optuna import samplers

SAMPLERS: dict[str, Callable[[int, int], samplers.BaseSampler]] = {
    "tpe": lambda seed, trials: samplers.TPESampler(seed=seed + trials, multivariate=True, constant_liar=True),
    "nsga2": lambda seed, trials: samplers.NSGAIISampler(seed=seed + trials, population_size=16),
    "nsga3": lambda seed, trials: samplers.NSGAIIISampler(seed=seed + trials, population_size=16),
    "gp": lambda seed, trials: samplers.GPSampler(seed=seed + trials, warn_independent_sampling=False),
    # CMA-ES knows numbers only: choices are left to a TPE of their own.
    "cmaes": lambda seed, trials: samplers.CmaEsSampler(
        seed=seed + trials,
        with_margin=True,
        independent_sampler=samplers.TPESampler(seed=seed + trials),
        warn_independent_sampling=False,
    ),
    # The place in the sequence is in the study; another seed would begin another sequence.
    "qmc": lambda seed, trials: samplers.QMCSampler(
        seed=seed,
        scramble=True,
        independent_sampler=samplers.RandomSampler(seed=seed + trials),
        warn_independent_sampling=False,
    ),
    "random": lambda seed, trials: samplers.RandomSampler(seed=seed + trials),
}
"""Sampler name -> Optuna sampler for a seed and the number of trials that the study has already.

A restarted sampler of the same seed alone would propose its first points once more.
"""

SCALAR = {"cmaes"}
"""Samplers that know one number only: the metric ``default``."""

COSTLY = {"gp"}
"""Samplers that take seconds for a proposal."""
