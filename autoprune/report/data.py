"""The Pareto front as data: for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from autoprune.experiment.results import Experiment


def front_as_csv(experiment: Experiment, objectives: Sequence[str] | None = None) -> str:
    """Return the front as CSV: a row for each trial, with its measures, parameters and margins.

    Args:
        objectives: whose front it is; the experiment's own if None.
    """
    rows = [
        {"trial": entry["trial"]} | entry["measures"] | entry["margins"] | entry["parameters"]
        for entry in front_as_dict(experiment, objectives)["front"]
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


def front_as_dict(experiment: Experiment, objectives: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the front, the most accurate first, the baselines and the dense model's measures, as plain values."""
    chosen = tuple(objectives) if objectives else experiment.objectives
    return {
        "experiment": experiment.id,
        "name": experiment.name,
        "objectives": list(chosen),
        "dense": experiment.dense,
        "front": [
            {
                "trial": trial.id,
                "number": trial.sequence,
                "measures": trial.measures,
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
