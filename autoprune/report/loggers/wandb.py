"""Weights & Biases: a run for the search, a step for each trial, the front as a table, the model as an artifact."""

from __future__ import annotations

import os
from collections.abc import Mapping

from autoprune.report.loggers.base import Ended, Logger, Outcome


class WandB(Logger):
    """Writes to the project ``WANDB_PROJECT`` or ``autoprune``; with ``WANDB_MODE=offline`` into a folder ``wandb``."""

    package = "wandb"

    def begin(self, name: str, about: Mapping[str, str]) -> str:
        """Open the run."""
        import wandb

        project = os.environ.get("WANDB_PROJECT") or "autoprune"
        settings = wandb.Settings(silent=True, console="off", disable_git=True)
        self._run = wandb.init(project=project, name=name, config=dict(about), settings=settings, reinit="create_new")
        return f"wandb: {self._run.url or self._run.dir}"

    def doing(self, words: str) -> None:
        """Set it in the run's summary."""
        self._run.summary["doing"] = words

    def trial(self, ended: Ended) -> None:
        """Log a step."""
        self._run.log({**ended.numbers, **ended.texts, "trial": ended.id}, step=ended.step)

    def end(self, outcome: Outcome) -> None:
        """Log both, and the chosen model's numbers in the summary."""
        import wandb

        columns, rows = outcome.table
        self._run.log({"front": wandb.Table(columns=columns, data=rows)})
        self._run.summary.update({**outcome.numbers, "chosen": outcome.chosen})
        if outcome.files:
            model = wandb.Artifact(f"{self._run.id}-model", "model")
            for file in outcome.files:
                model.add_file(str(file))
            self._run.log_artifact(model)

    def close(self, complete: bool) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if complete else 1)
