"""AutoPrune: search for the sparsity of every layer, and take home a really smaller model."""

from typing import TYPE_CHECKING

from autoprune.base.version import __version__

__all__ = [
    "__version__",
    "Candidate",
    "Metric",
    "Recipe",
    "SearchResult",
    "Splits",
    "Task",
    "TrialFailure",
    "UserError",
    "from_lightning",
    "from_timm",
    "from_transformers",
    "run_search",
    "run_trial",
]

if TYPE_CHECKING:
    from autoprune.api import SearchResult, run_search
    from autoprune.errors import TrialFailure, UserError
    from autoprune.results.candidate import Candidate
    from autoprune.results.measures import Metric
    from autoprune.task.adapters.lightning import from_lightning
    from autoprune.task.adapters.timm import from_timm
    from autoprune.task.adapters.transformers import from_transformers
    from autoprune.task.recipe import Recipe
    from autoprune.task.task import Splits, Task
    from autoprune.trial.run import run_trial

_HOMES = {
    "Candidate": "autoprune.results.candidate",
    "Metric": "autoprune.results.measures",
    "Recipe": "autoprune.task.recipe",
    "SearchResult": "autoprune.api",
    "Splits": "autoprune.task.task",
    "Task": "autoprune.task.task",
    "TrialFailure": "autoprune.errors",
    "UserError": "autoprune.errors",
    "from_lightning": "autoprune.task.adapters.lightning",
    "from_timm": "autoprune.task.adapters.timm",
    "from_transformers": "autoprune.task.adapters.transformers",
    "run_search": "autoprune.api",
    "run_trial": "autoprune.trial.run",
}


def __getattr__(name: str):
    """Import on first use, so that a tuner's or a manager's process never loads torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
