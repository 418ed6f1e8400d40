"""Search spaces, the search loop and tuners; never imports torch before the RL tuner's agent is made."""

import importlib

_PLACES = {
    "AmcTuner": "autoprune.search.tuners.amc.tuner",
    "OptunaTuner": "autoprune.search.tuners.optuna.tuner",
    "Tuner": "autoprune.search.tuners.base",
}

__all__ = ["AmcTuner", "OptunaTuner", "Tuner"]


def __getattr__(name: str):
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
