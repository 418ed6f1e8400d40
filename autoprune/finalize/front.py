"""The Pareto front as data: for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.results.experiment import Experiment
from autoprune.results.fine_tuned import fine_tuned_values


def front_as_csv(experiment: Experiment, objectives: Sequence[str] | None = None, final: Final | None = None) -> str:
    """Return the front as CSV: a row for each trial, with its measures, parameters and margins.

    Where the front was fine-tuned to the end, ``recovered_validation``, ``recovered_test``, their standard deviations
    over the seeds (``..._std``) and the number of seeds are there too.

    Args:
        objectives: whose front it is; the experiment's own if None.
        final: its latencies, measured in turn, replace those of the trials, and its test accuracies are given.
    """
    front = front_as_dict(experiment, objectives, final)["front"]
    known = next((list(entry["recovered"]) for entry in front if entry["recovered"]), [])
    rows = [
        {"trial": entry["trial"]}
        | entry["measures"]
        | {f"recovered_{name}": entry["recovered"].get(name, "") for name in known}
        | entry["margins"]
        | entry["parameters"]
        for entry in front
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["trial"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def front_as_json(experiment: Experiment, objectives: Sequence[str] | None = None) -> str:
    """Return the front as JSON, with the dense model's measures beside it."""
    return json.dumps(front_as_dict(experiment, objectives), indent=2)


def front_as_dict(
    experiment: Experiment, objectives: Sequence[str] | None = None, final: Final | None = None
) -> dict[str, Any]:
    """Return the front, the best by the metric first, the baselines and the dense model's measures, as plain values."""
    chosen = tuple(objectives) if objectives else experiment.objectives
    fine_tuned = fine_tuned_of(experiment, final)
    latency_ms = final.latency_ms if final else {}
    return {
        "experiment": experiment.id,
        "name": experiment.name,
        "objectives": list(chosen),
        "dense": experiment.dense,
        "front": [
            {
                "trial": trial.id,
                "number": trial.sequence,
                "measures": trial.measures | {"latency_ms": latency_ms.get(trial.id, trial.measures["latency_ms"])},
                "recovered": fine_tuned_values(fine_tuned[trial.id]) if trial.id in fine_tuned else {},
                "margins": experiment.margins(trial),
                "parameters": trial.parameters,
                "channels kept": trial.record.get("kept", {}),
            }
            for trial in experiment.front(chosen)
        ],
        "baselines": {
            name: [{"trial": trial.id, "measures": trial.measures, "parameters": trial.parameters} for trial in trials]
            for name, trials in experiment.baselines.items()
        },
    }
