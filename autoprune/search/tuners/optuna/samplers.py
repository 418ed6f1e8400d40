"""Optuna's samplers by name."""

from __future__ import annotations

from collections.abc import Callable

from optuna import samplers

SAMPLERS: dict[str, Callable[[int, int], samplers.BaseSampler]] = {
    "tpe": lambda seed, told: samplers.TPESampler(seed=seed + told, multivariate=True, constant_liar=True),
    "nsga2": lambda seed, told: samplers.NSGAIISampler(seed=seed + told, population_size=16),
    "nsga3": lambda seed, told: samplers.NSGAIIISampler(seed=seed + told, population_size=16),
    "gp": lambda seed, told: samplers.GPSampler(seed=seed + told, warn_independent_sampling=False),
    # CMA-ES knows numbers only: choices are left to a TPE of their own.
    "cmaes": lambda seed, told: samplers.CmaEsSampler(
        seed=seed + told,
        with_margin=True,
        independent_sampler=samplers.TPESampler(seed=seed + told),
        warn_independent_sampling=False,
    ),
    # The place in the sequence is in the study; another seed would begin another sequence.
    "qmc": lambda seed, told: samplers.QMCSampler(
        seed=seed,
        scramble=True,
        independent_sampler=samplers.RandomSampler(seed=seed + told),
        warn_independent_sampling=False,
    ),
    "random": lambda seed, told: samplers.RandomSampler(seed=seed + told),
}
"""Sampler name -> Optuna sampler for a seed and the number of trials that the study has already.

A restarted sampler of the same seed alone would propose its first points once more.
"""

SCALAR = {"cmaes"}
"""Samplers that know one number only: the metric ``default``."""

COSTLY = {"gp"}
"""Samplers that take seconds for a proposal."""
