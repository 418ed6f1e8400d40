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
    "from_torchvision",
    "from_transformers",
    "from_ultralytics",
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
    from autoprune.task.adapters.torchvision import from_torchvision
    from autoprune.task.adapters.transformers import from_transformers
    from autoprune.task.adapters.ultralytics import from_ultralytics
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
    "from_torchvision": "autoprune.task.adapters.torchvision",
    "from_transformers": "autoprune.task.adapters.transformers",
    "from_ultralytics": "autoprune.task.adapters.ultralytics",
    "run_search": "autoprune.api",
    "run_trial": "autoprune.trial.run",
}


def __getattr__(name: str):
    """Import on first use, so that a tuner's or a manager's process never loads torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
