"""The command line: it parses and calls."""

# Commands are listed in the order of these imports.
# isort: off
from autoprune.cli import searches, results, tasks  # noqa: F401
from autoprune.cli.app import app, main

__all__ = ["app", "main"]
