"""What follows a search: one model is chosen, re-measured, tested, and exported."""

from __future__ import annotations

import csv
import json
import platform
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

import torch

from autoprune import measure, training
from autoprune.experiment.results import MEASURES, Experiment, Trial
from autoprune.experiment.setup import load_settings
from autoprune.export import export, load_pruned
from autoprune.report.final import Final
from autoprune.search.pareto import choose

DEFAULT_RULE = "drop<=1%"


def choose_trial(experiment: Experiment, rule: str | None) -> tuple[Trial, str]:
    """Return the trial that ``rule`` picks from the front, and the rule in force.

    Without a rule it is ``drop<=1%``, or the most accurate trial where none is that good. A trial's id picks any trial.

    Raises:
        UserError: the rule is not understood or nothing satisfies it.
    """
    if rule and any(trial.id == rule for trial in experiment.trials if trial.succeeded):
        return experiment.trial(rule), f"trial {rule}, by hand"
    front = {trial.id: trial.measures for trial in experiment.front()}
    dense = experiment.dense or {"accuracy": 1.0}
    if rule is None and front:
        limit = dense["accuracy"] - 0.01
        if all(m["accuracy"] < limit - 1e-9 for m in front.values()):
            best = max(front, key=lambda key: front[key]["accuracy"])
            return experiment.trial(best), "the most accurate: no trial is within 1 % of the dense accuracy"
    rule = rule or DEFAULT_RULE
    return experiment.trial(choose(rule, front, dense, experiment.objectives)), rule


def finish(experiment: Experiment, rule: str | None, folder: Path) -> Final:
    """Choose a model and take it home: latencies measured in turn, accuracy on the test split, files, a model card.

    Args:
        rule: see :func:`choose_trial`.
        folder: where the files go; made if need be.

    Raises:
        UserError: nothing can be chosen, or the task cannot be loaded any more.
    """
    chosen, reason = choose_trial(experiment, rule)
    torch.set_num_threads(1)
    with chdir(experiment.config["trialCodeDirectory"]):
        task, data, dense = load_settings(experiment.settings)
    models = {"dense": dense.model}
    for trial in [*experiment.front(), chosen, *(t for ts in experiment.baselines.values() for t in ts)]:
        models[trial.id] = load_pruned(task, trial.model_file)
    latencies = measure.latencies_ms(list(models.values()), task.example_input)
    inputs = torch.stack([data.validation[i][0] for i in range(min(64, len(data.validation)))])
    files = export(task, models[chosen.id], inputs, folder)
    final = Final(
        chosen=chosen,
        reason=reason,
        test_accuracy=training.accuracy(models[chosen.id], data.test),
        dense_test_accuracy=training.accuracy(dense.model, data.test),
        latency_ms=dict(zip(models, latencies, strict=True)),
        files=files,
    )
    write_front(experiment, folder / "front.csv", final.latency_ms)
    card = model_card(experiment, final)
    (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n")
    return final


def write_front(experiment: Experiment, file: Path, latency_ms: dict[str, float]) -> None:
    """Write the front as CSV: a row for each trial, with its measures, parameters and margins."""
    rows = [
        {"trial": trial.id}
        | trial.measures
        | {"latency_ms": latency_ms.get(trial.id, trial.measures["latency_ms"])}
        | experiment.margins(trial)
        | trial.parameters
        for trial in experiment.front()
    ]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def model_card(experiment: Experiment, final: Final) -> dict:
    """Return what a reader of the exported model should know: from which search, how good, how large, how to load."""
    trial = final.chosen
    return {
        "experiment": experiment.id,
        "task": experiment.settings.task,
        "trial": trial.id,
        "chosen by": final.reason,
        "parameters": trial.parameters,
        "channels kept": trial.record.get("kept", {}),
        "validation": {name: trial.measures[name] for name in MEASURES},
        "dense validation": experiment.dense,
        "test accuracy": {"pruned": final.test_accuracy, "dense": final.dense_test_accuracy},
        "latency_ms, batch of 1, one thread, PyTorch eager, measured in turn": {
            "pruned": final.latency_ms[trial.id],
            "dense": final.latency_ms["dense"],
        },
        "seed": experiment.settings.seed,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "torch-pruning", "nni", "optuna", "onnx")},
        "machine": f"{platform.system()} {platform.machine()}",
        "how to load": {
            "model.pt2": "torch.export.load('model.pt2').module()(inputs)",
            "model.onnx": "onnxruntime.InferenceSession('model.onnx').run(None, {'input': inputs})",
            "model.state_dict.pt": "autoprune.export.load_pruned(task, 'model.state_dict.pt')",
        },
    }
