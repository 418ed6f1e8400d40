"""Search spaces, Pareto fronts, baselines and tuners; never imports torch before the RL tuner's agent is made."""

import importlib

_TUNERS = {"AmcTuner": "autoprune.search.tuners.amc.tuner", "OptunaTuner": "autoprune.search.tuners.optuna.tuner"}

__all__ = ["AmcTuner", "OptunaTuner"]


def __getattr__(name: str):
    if name in _TUNERS:
        return getattr(importlib.import_module(_TUNERS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
