"""MLflow: a run for the search and one within it for each trial, the front and the model as artifacts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from autoprune.base.quiet import quiet
from autoprune.report.loggers.base import Ended, Logger, Outcome


class MLflow(Logger):
    """Writes to where ``MLFLOW_TRACKING_URI`` says, to the experiment ``MLFLOW_EXPERIMENT_NAME`` or one of its own."""

    package = "mlflow"

    def begin(self, name: str, about: Mapping[str, str]) -> str:
        """Open the search's run."""
        with quiet():
            import mlflow
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient()
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
            known = self._client.get_experiment_by_name(experiment)
            self._experiment = known.experiment_id if known else self._client.create_experiment(experiment)
            self._run = self._client.create_run(self._experiment, run_name=name).info.run_id
            self._log(self._run, {}, about)
        return f"mlflow: run {self._run} of {experiment} at {mlflow.get_tracking_uri()}"

    def doing(self, words: str) -> None:
        """Set a tag of the search's run."""
        self._client.set_tag(self._run, "doing", words)

    def trial(self, ended: Ended) -> None:
        """Add a point to each curve of the search's run, and a run of the trial's own."""
        self._log(self._run, ended.numbers, {}, ended.step)
        parent = {"mlflow.parentRunId": self._run}
        own = self._client.create_run(self._experiment, tags=parent, run_name=ended.id).info.run_id
        self._log(own, ended.numbers, ended.texts)
        self._client.set_terminated(own, "FAILED" if ended.failed else "FINISHED")

    def end(self, outcome: Outcome) -> None:
        """Log both as artifacts, and the chosen model's numbers."""
        self._client.log_text(self._run, outcome.front, "front.csv")
        self._client.set_tag(self._run, "chosen", outcome.chosen)
        self._log(self._run, outcome.numbers, {})
        for file in outcome.files:
            self._client.log_artifact(self._run, str(file), "model")

    def close(self, complete: bool) -> None:
        """Close the search's run."""
        self._client.set_terminated(self._run, "FINISHED" if complete else "KILLED")

    def _log(self, run: str, numbers: Mapping[str, float], texts: Mapping[str, str], step: int = 0) -> None:
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(run, metrics, [Param(name, text[:6000]) for name, text in texts.items()])
