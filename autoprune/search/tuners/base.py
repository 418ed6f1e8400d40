"""What every tuner is: asked for parameters, and told what came of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from autoprune.results.prepared import Prepared

Parameters = dict[str, Any]
"""A point of the search space."""

Metrics = Mapping[str, Any]
"""What a trial reported: ``default``, and the measures by name."""


class NoMoreCandidates(Exception):
    """A tuner has nothing more to propose."""


class Tuner(ABC):
    """Proposes candidates, by the results of those before.

    It lives in a process without PyTorch when NNI runs the search (see :mod:`autoprune.nni.tuners`), and in the
    caller's when :func:`autoprune.run_search` does. Several trials may run at once: ``ask`` may come again before the
    ``tell`` of an earlier number.
    """

    @abstractmethod
    def update_search_space(self, search_space: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the search space, in NNI's format; called before anything else.

        Raises:
            UserError: the tuner cannot search it.
        """

    def prepare(self, prepared: Sequence[Prepared]) -> None:  # noqa: B027  (not every tuner has a use for it)
        """Take what was learnt about the network; called once, before the first ``ask``, if anything was."""

    @abstractmethod
    def ask(self, number: int) -> Parameters:
        """Return the parameters of the next trial.

        Args:
            number: of the trial, by which it is told.

        Raises:
            NoMoreCandidates: there is nothing more to propose.
        """

    @abstractmethod
    def tell(self, number: int, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        """Take what came of a trial.

        Args:
            metrics: what it reported; None if it failed or was stopped.
        """

    def resume(self, results: Sequence[tuple[Mapping[str, Any], Any]]) -> None:  # noqa: B027
        """Take results that this tuner did not ask for, or asked for before it was restarted.

        Args:
            results: the parameters and the metrics of each trial.
        """
