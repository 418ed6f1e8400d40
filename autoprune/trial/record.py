"""One trial of a search, carried out and recorded in a folder, whoever asked for it: NNI or a notebook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.base.files import read_object, replacing, write_json, write_text
from autoprune.errors import TrialFailure, UserError
from autoprune.results import finite
from autoprune.results.experiment import FAILURE, MODEL, RESULT
from autoprune.results.measures import METRIC, Measure
from autoprune.results.network import FILE as NETWORK
from autoprune.results.prepared import FILE as PREPARED

if TYPE_CHECKING:
    from autoprune.prune.dense import Dense
    from autoprune.results.candidate import Candidate
    from autoprune.results.settings import TrialCommand
    from autoprune.task.task import Splits, Task
    from autoprune.trial.run import TrialResult


def execute(
    settings: TrialCommand,
    loaded: tuple[Task, Splits, Dense],
    channels: dict[str, int],
    candidate: Candidate,
    folder: Path,
    on_round: Callable[[float], None],
) -> dict[str, float]:
    """Run one candidate, leave its result and its model in ``folder``, and return its metrics.

    Args:
        settings: seed, rounding, how latency is measured.
        loaded: task, data and dense model.
        channels: channels of each group of the dense model.
        folder: of this trial; its neighbours are the search's other trials.
        on_round: called with the validation metric after every round of the schedule but the last.

    Raises:
        TrialFailure: the candidate cannot be carried through.
    """
    import torch

    from autoprune.base import memory
    from autoprune.base.tree import weights_of
    from autoprune.measure.measure import optional
    from autoprune.results import baselines
    from autoprune.trial import reference_latency
    from autoprune.trial.ancestry import find_parent
    from autoprune.trial.run import run_trial

    memory.forget_peak()
    task, data, dense = loaded
    if candidate.baseline == baselines.DENSE:
        result = _prepare(settings, loaded, candidate, folder)
    else:
        parent = find_parent(task, candidate.parent, folder.parent) if candidate.parent else None
        seed, round_to = settings.seed, settings.round_to
        result = run_trial(task, candidate, data, dense, seed, round_to, on_round, parent=parent)
    how = (settings.latency, settings.latency_batch)
    pruned_ms, dense_ms = reference_latency.beside_reference(dense, result.model, task.example, *how)
    pruned_more, dense_more = (
        optional(settings.optional, model, task.example, settings.latency_batch)
        for model in (result.model, dense.model)
    )
    measures = finite.checked(result.measures | {"latency_ms": pruned_ms} | pruned_more)
    dense_measures = dense.measures | {"latency_ms": dense_ms} | dense_more
    metrics = default_metric(measures, dense_measures, settings.size_weight, task.metric) | measures
    if candidate.baseline is None:
        metrics |= baselines.margins(measures, dense_measures, finished_baselines(folder.parent), task.metric)
    finite.checked(metrics)
    with replacing(folder / MODEL) as draft:
        torch.save(weights_of(result.model), draft)
    record = {
        "parameters": candidate.to_parameters(),
        "measures": measures,
        "metrics": metrics,
        "dense": dense_measures,
        "kept": result.kept,
        "channels": channels,
    }
    if candidate.ties:
        record["kinds"] = {group.name: group.kind for group in dense.groups}
    write_json(folder / RESULT, record)
    return metrics


def _prepare(
    settings: TrialCommand, loaded: tuple[Task, Splits, Dense], candidate: Candidate, folder: Path
) -> TrialResult:
    """Carry out the dense model's trial: prepare the search, and return the dense model as it is."""
    from autoprune.prune.layers import network_of
    from autoprune.trial.preparation import prepare_search
    from autoprune.trial.run import TrialResult

    task, data, dense = loaded
    recipe = asdict(task.recovery) if settings.recipe_trials else None
    prepared = prepare_search(task, data, dense, candidate, settings.seed, settings.round_to, recipe)
    write_json(folder / PREPARED, prepared.to_dict())
    write_json(folder / NETWORK, network_of(dense.model, task.example, dense.groups, prepared.sizes).to_dict())
    return TrialResult(dense.model, dict(dense.measures), {group.name: group.channels for group in dense.groups})


def record_failure(error: Exception, folder: Path) -> str:
    """Leave the reason of a trial's failure in its folder and return it, in one line."""
    from autoprune.base import memory

    if memory.is_used_up(error):
        reason = memory.said(error)
    else:
        reason = str(error) if is_known(error) else f"{type(error).__name__}: {error}"
    reason = " ".join(reason.split())
    write_text(folder / FAILURE, reason + "\n")
    return reason


def is_known(error: Exception) -> bool:
    """Say whether a trial may fail with this: what is loaded is as it was, and the reason needs no traceback."""
    from autoprune.base import memory

    return isinstance(error, TrialFailure | UserError) or memory.is_used_up(error)


def default_metric(
    measures: dict[str, float], dense: dict[str, float], weight: float, metric: Measure = METRIC
) -> dict[str, float]:
    """Return the one number that NNI's own tuners maximise, as ``default``.

    The metric, as :meth:`.Measure.gain` counts it, times (MACs / dense MACs) ** -weight, the weighted product of
    MnasNet (Tan et al. 2019, equation 2); for unstructured sparsity, which saves no MACs, with the parameters in the
    MACs' place.
    """
    size = "macs" if measures["macs"] < dense["macs"] else "params"
    ratio = max(measures[size], 1) / max(dense[size], 1)
    return {"default": round(metric.gain(measures[metric.name], dense[metric.name]) * ratio**-weight, 6)}


def finished_baselines(trials: Path) -> dict[str, list[dict[str, float]]]:
    """Return the measures of the baseline trials that have finished, by the baseline's name.

    Args:
        trials: the folder that holds the trials' folders.
    """
    from autoprune.results import baselines

    found: dict[str, list[dict[str, float]]] = {}
    for file in sorted(trials.glob(f"*/{RESULT}")):
        record, _ = read_object(file)  # a damaged one must not fail the others' trials
        name = record.get("parameters", {}).get("baseline")
        if name and name != baselines.DENSE and not finite.why_not(record["measures"]):
            found.setdefault(name, []).append(record["measures"])
    return found
