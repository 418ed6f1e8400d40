"""Tuners: what proposes candidates, by the results of those before."""

from autoprune.base.registry import Registry
from autoprune.search.tuners.base import Tuner

TUNERS: Registry[type[Tuner]] = Registry(
    "tuner",
    {
        "optuna": "autoprune.search.tuners.optuna.tuner:OptunaTuner",
        "amc": "autoprune.search.tuners.amc.tuner:AmcTuner",
    },
    "autoprune.tuners",
)
"""Classes of :class:`~autoprune.search.tuners.base.Tuner`, by name."""
