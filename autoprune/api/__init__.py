"""The front door of Python: a search without NNI's manager."""

from autoprune.api.result import SearchResult
from autoprune.api.search import run_search

__all__ = ["SearchResult", "run_search"]
