"""What the table of the Pareto front says, row by row; the terminal and the page show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.report.kept import is_sparse
from autoprune.results import finite
from autoprune.results.baselines import DENSE
from autoprune.results.candidate import renamed
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.measures import Measure
from autoprune.results.worth import Worth


@dataclass(frozen=True)
class Cell:
    """A measure, and how it compares with the dense model's.

    Args:
        text: the measure, or a dash where it is unknown.
        compared: ``3.9x`` for a size, ``-0.28`` (percentage points) for a fraction; empty where nothing compares.
        words: the same in words: ``3.9x fewer``, ``-0.28 points``.
    """

    text: str
    compared: str = ""
    words: str = ""


@dataclass(frozen=True)
class Row:
    """One network.

    Args:
        kind: what it is.
        label: the trial's id, or ``dense``.
        about: the criterion and schedule, or the baseline and its sparsity.
        chosen: whether it was taken home.
        cells: by measure.
        margins: how much better or worse than each baseline at the same number of parameters, by its name; percentage
            points where the metric is a fraction.
        test: the metric on the test split after the last fine-tuning, mean and standard deviation over the seeds, in
            percent where it is a fraction; empty where it is not known.
    """

    kind: Literal["dense", "front", "equal", "baseline"]
    label: str
    about: str
    chosen: bool
    cells: dict[str, Cell]
    margins: dict[str, str]
    test: str = ""


def front_rows(
    experiment: Experiment, final: Final | None = None, objectives: Sequence[str] | None = None
) -> list[Row]:
    """Return the dense model, the front (the best by the metric first) and the baselines (the largest first).

    A chosen trial that is not on the front stands after it, and then its rival of equal sparsities, where there is one.
    What was fine-tuned to the end has the mean metric after that, by which one is chosen.

    Args:
        final: marks the chosen trial, and gives test results. Where it has latencies, they replace those of the
            trials, which were measured while other trials ran.
        objectives: whose front it is; the experiment's own if None.
    """
    front = experiment.front(tuple(objectives) if objectives else None)
    if final and final.chosen.id not in {trial.id for trial in front}:
        front.append(final.chosen)
    rows = [_dense_row(experiment, experiment.dense, final)] if experiment.dense else []
    fine_tuned, metric = fine_tuned_of(experiment, final), experiment.metric
    rows += [_row("front", experiment, _as_fine_tuned(trial, fine_tuned), final) for trial in front]
    worth = final.worth if final and final.worth and not final.worth.is_equal else None
    if final and worth:
        rows.append(_equal_row(experiment, final, worth))
    for trials in experiment.baselines.values():
        largest_first = sorted(trials, key=lambda trial: -trial.measures["params"])
        rows += [_row("baseline", experiment, trial, final) for trial in largest_first]
    tested = {key: metric.spread(each.test) for key, each in fine_tuned.items()}
    if worth:
        tested["equal"] = metric.spread(worth.rival.test)
    if fine_tuned and final and final.dense_test_quality is not None:
        tested["dense"] = metric.spread([final.dense_test_quality])
    return [replace(row, test=tested.get(row.label, "")) for row in rows]


def method(trial: Trial) -> str:
    """Return how a trial pruned: ``l1_norm, supernet + fine-tuned``; of a baseline, its name and sparsity."""
    parameters = trial.parameters
    if trial.baseline == DENSE:
        return "dense"
    if trial.baseline:
        return f"{trial.baseline} {_number(parameters, 'sparsity') or 0:.0%}"
    schedule = str(renamed(parameters).get("schedule", "")).replace("_", " ")
    spread = f"{parameters['allocation']} allocation" if parameters.get("allocation") else ""
    trained = "chain" if parameters.get("parent") else _trained(schedule, _number(parameters, "budget"))
    words = [str(parameters.get("criterion", "")), spread, trained]
    return ", ".join(word for word in words if word)


def name(experiment: Experiment, trial: Trial) -> str:
    """Return the method and what is left: ``l1_norm, supernet, 38% MACs``; weights, where no channel went."""
    if trial.baseline or not trial.succeeded or experiment.dense is None:
        return method(trial)
    measure, word = ("params", "weights") if is_sparse(experiment, trial) else ("macs", "MACs")
    return f"{method(trial)}, {trial.measures[measure] / experiment.dense[measure]:.0%} {word}"


def _number(parameters: Mapping[str, Any], key: str) -> float | None:
    """Return a parameter that is a number; None where it is not there, or something else (NNI's API takes anything)."""
    return parameters[key] if finite.is_finite(parameters.get(key)) else None


def _trained(schedule: str, budget: float | None) -> str:
    """Return the schedule, and how much of its training was done (see :class:`.Candidate`)."""
    part = f"{budget:.0%} " if budget and budget < 1 else ""
    if schedule == "supernet":
        return f"supernet + {part}fine-tuned" if budget else "supernet"
    if budget is None or budget >= 1:
        return schedule
    return f"{schedule}, {part}of the training" if budget else f"{schedule}, not recovered"


def _dense_row(experiment: Experiment, dense: dict[str, float], final: Final | None) -> Row:
    values: dict[str, float | None] = {**dense, "latency_ms": _latency("dense", dense, final)}
    shown = (experiment.metric, *experiment.sizes.values())
    cells = {each.name: cell(each, values.get(each.name), None) for each in shown}
    return Row("dense", "dense", "not pruned", False, cells, {})


def _row(kind: Literal["front", "equal", "baseline"], experiment: Experiment, trial: Trial, final: Final | None) -> Row:
    dense, metric = experiment.dense, experiment.metric
    values: dict[str, float | None] = {**trial.measures, "latency_ms": _latency(trial.id, trial.measures, final)}
    references: dict[str, float | None] = {**dense, "latency_ms": _latency("dense", dense, final)} if dense else {}
    shown = (metric, *experiment.sizes.values())
    cells = {each.name: cell(each, values.get(each.name), references.get(each.name)) for each in shown}
    margins = {} if trial.baseline else experiment.margins(trial)
    above = {name.removeprefix("above_"): metric.difference(value) for name, value in margins.items()}
    return Row(kind, trial.id, method(trial), final is not None and trial.id == final.chosen.id, cells, above)


def _as_fine_tuned(trial: Trial, fine_tuned: Mapping[str, FineTuned]) -> Trial:
    if trial.id not in fine_tuned:
        return trial
    return replace(trial, metrics=trial.metrics | {trial.metric.name: fmean(fine_tuned[trial.id].validation)})


def _equal_row(experiment: Experiment, final: Final, worth: Worth) -> Row:
    row = _row("equal", experiment, _as_fine_tuned(worth.trial, {worth.trial.id: worth.rival}), final)
    return replace(row, label="equal", about=f"equal sparsities {worth.sparsity:.0%}, trained as long", margins={})


def _latency(key: str, measures: dict[str, float], final: Final | None) -> float | None:
    return final.latency_ms.get(key) if final and final.latency_ms else measures["latency_ms"]


def cell(measure: Measure, value: float | None, dense: float | None) -> Cell:
    """Return a value of a measure, compared with the dense model's where both are known."""
    if value is None:
        return Cell("-")
    if dense is None or (not dense and not measure.is_share):
        return Cell(measure.write(value))
    return Cell(measure.write(value), measure.compare(value, dense), measure.words(value, dense))
