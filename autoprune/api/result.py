"""What a search from Python found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from autoprune.prune.dense import Dense
from autoprune.results.experiment import Experiment, Trial
from autoprune.task.task import Splits, Task

if TYPE_CHECKING:
    from autoprune.finalize.final import Final


@dataclass(frozen=True)
class SearchResult(Experiment):
    """What a search found: an :class:`~autoprune.results.experiment.Experiment` that can be taken home.

    Args:
        loaded: the task, its data and its dense model.
        keeper: the temporary folder, deleted with the result; None if the caller named a folder.

    Example:
        >>> import autoprune
        >>> result = autoprune.run_search("digits", trials=2, baselines=False)
        >>> best = result.choose("macs<=2M")
        >>> result.model(best)(result.loaded[0].example_input).shape
        torch.Size([1, 10])
    """

    loaded: tuple[Task, Splits, Dense] = field(repr=False)
    keeper: Any = field(default=None, repr=False)

    def choose(self, rule: str | None = None, confidence: float = 0.9) -> Trial:
        """Return the trial that a rule picks from the front.

        Args:
            rule: ``drop<=1%`` (also if None, or the most accurate trial where none is that good), ``knee``,
                ``macs<=20M`` and the like, or a trial's id.
            confidence: that a limit on the drop holds for the true drop, once the front was fine-tuned to the end; 0
                takes drops as measured.

        Raises:
            UserError: the rule is not understood or nothing satisfies it.
        """
        from autoprune.finalize.choice import choose_trial

        return choose_trial(self, rule, confidence)[0]

    def model(self, choice: Trial | str | None = None) -> nn.Module:
        """Return a trial's pruned network in evaluation mode, on the CPU.

        Args:
            choice: a trial, or a rule as in :meth:`choose`.
        """
        from autoprune.export import load_pruned

        trial = choice if isinstance(choice, Trial) else self.choose(choice)
        return load_pruned(self.loaded[0], trial.model_file)

    def export(self, rule: str | None = None, folder: str | Path = "outputs", **options: Any) -> Final:
        """Write a model's files and its card, each file loaded back by its own runtime and compared with the model.

        Args:
            rule: as in :meth:`choose`.
            folder: of the files; made if need be. Or one file, such as ``model.onnx``.
            **options: of :class:`autoprune.finalize.finish.Options`, such as ``formats=("onnx",)``.

        Raises:
            UserError: nothing satisfies the rule, or an option is wrong.
        """
        from autoprune.export import formats_for
        from autoprune.finalize.finish import Options, finish

        place = Path(folder)
        options = {"formats": formats_for(None, place)} | options
        return finish(self, rule, place, Options(**options), self.loaded)

    def report(self, file: str | Path = "report.html", final: Final | None = None) -> Path:
        """Write the report, one HTML page that needs nothing else, and return its path.

        Args:
            final: what :meth:`export` returned, to be marked in the report.
        """
        from autoprune.report.page import write_report

        return write_report(self, final, Path(file))

    def show(self) -> None:
        """Print the front beside the dense model and the baselines."""
        from autoprune.report.table import front_table
        from autoprune.report.terminal import show

        show(front_table(self))

    def __str__(self) -> str:
        """Return what :meth:`show` prints, as wide as the terminal."""
        from autoprune.report.table import front_text

        return front_text(self)

    def _repr_html_(self) -> str:
        """Return the front as a picture and a table, for a notebook."""
        from autoprune.report.notebook import front_html

        return front_html(self)
