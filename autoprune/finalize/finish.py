"""What follows a search: one model is chosen, re-measured, tested, and exported."""

from __future__ import annotations

from contextlib import chdir, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from autoprune import export
from autoprune.base.checked import Count, Whole, check
from autoprune.base.files import write_text
from autoprune.errors import TrialFailure, UserError
from autoprune.export.int8 import export_int8
from autoprune.export.recovery import Recovery, recover
from autoprune.finalize.card import model_card, write_card
from autoprune.finalize.choice import choose_trial, members
from autoprune.finalize.confidence import DEFAULT, check_confidence
from autoprune.finalize.final import Final
from autoprune.finalize.fine_tuning import fine_tune_all
from autoprune.finalize.front import front_as_csv
from autoprune.finalize.intervals import count, intervals
from autoprune.finalize.worth import worth_of
from autoprune.measure import latency
from autoprune.prune.dense import Dense
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.worth import Worth
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation
from autoprune.trial.setup import load_settings


@dataclass(frozen=True)
class Options:
    """How a model is taken home.

    Args:
        formats: names in :data:`autoprune.export.FORMATS`.
        recovery_steps: fine-tuning steps before the export, 0 for none; if None, a network that the search judged on
            a small budget is recovered in full, once for each of the config's seeds, and the best of them is taken.
        threads: CPU threads of the runtimes in which the files are timed.
        runs: timed passes of each file.
        int8: whether an ONNX file of eight-bit integers is written as well.
        qat_steps: steps of quantisation-aware fine-tuning for it; 0 for post-training quantisation only.
        lenient: whether a format that fails is left out, with the reason, and the others are written.
        whole_front: whether the full recovery is done for the whole front before one network is chosen from it.
        confidence: that a limit on the drop holds, see :func:`.choose_trial`.

    Raises:
        UserError: a number that means nothing.
    """

    formats: tuple[str, ...] = field(default_factory=export.usual)
    recovery_steps: int | None = None
    threads: int = 1
    runs: int = 50
    int8: bool = False
    qat_steps: int = 0
    whole_front: bool = False
    lenient: bool = False
    confidence: float = DEFAULT

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        for name, kind in (("recovery_steps", Whole | None), ("runs", Count), ("qat_steps", Whole)):
            check(f"--{name.replace('_', '-')}", getattr(self, name), kind)
        latency.check_threads(self.threads)
        check_confidence(self.confidence)
        if self.qat_steps and not self.int8:
            raise UserError("--qat-steps is for a quantised model: add --quantize int8")


def load(experiment: Experiment) -> tuple[Task, Splits, Dense]:
    """Return an experiment's task, data and dense model.

    Raises:
        UserError: the task cannot be loaded any more.
    """
    with chdir(experiment.config["trialCodeDirectory"]):
        return load_settings(experiment.settings)


@latency.pinned(1)
def finish(
    experiment: Experiment,
    rule: str | None,
    place: Path,
    options: Options | None = None,
    loaded: tuple[Task, Splits, Dense] | None = None,
) -> Final:
    """Choose a model and take it home: files that were loaded back and compared, a model card, and the front.

    Args:
        rule: see :func:`.choose_trial`.
        place: the folder of the files, made if need be; or one file, if there is one format (it has a suffix then).
        options: formats and the like.
        loaded: the experiment's task, data and dense model; found by its trial command if None.

    Raises:
        UserError: nothing can be chosen, or the task cannot be loaded any more.
        ExportMismatch: a file computes something else than the model.
    """
    options = options or Options()
    files = export.files_at(place, options.formats)
    chosen, reason = choose_trial(experiment, rule, options.confidence)
    task, data, dense = loaded = loaded or load(experiment)
    model = export.load_pruned(task, chosen.model_file).to(dense.device)
    recovery, worth, fine_tuned = None, None, {}
    if options.recovery_steps is None:
        trials = members(experiment.front()) if options.whole_front and chosen.id != rule else [chosen]
        how = (experiment.settings.seeds, int(experiment.config.get("trialConcurrency") or 1))
        fine_tuned = fine_tune_all(experiment, loaded, trials, *how)
        if len(trials) > 1:
            chosen, reason = choose_trial(experiment, rule, options.confidence)
        best = fine_tuned[chosen.id]
        model = export.load_pruned(task, best.file).to(dense.device)
        if options.whole_front:
            with suppress(TrialFailure):  # the rival diverged: then there is nothing to compare with
                worth = worth_of(experiment, loaded, chosen, best, *how)
        if best.steps:
            after = min(best.validation, key=task.metric.cost)
            recovery = Recovery(model, best.steps, best.before, after, task.metric)
    elif options.recovery_steps:
        recovery = recover(task, model, dense, data, options.recovery_steps, experiment.settings.seed)
        model = recovery.model
    exported: dict[str, export.Exported] = {}
    left_out: dict[str, str] = {}
    for name, file in files.items():
        try:
            one = export.export(task, model, dense.model, data.validation, {name: file}, options.threads, options.runs)
        except UserError as error:
            if not options.lenient:
                raise
            left_out[name] = str(error)
        else:
            exported |= one
    one_file = place in files.values()
    stem = place.with_suffix("") if one_file else place / "model"
    quantized = None
    if options.int8:
        file = stem.with_name(f"{stem.name}.int8.onnx")
        steps, seed = options.qat_steps, experiment.settings.seed
        quantized = export_int8(task, model, dense, data, file, steps, seed, options.threads, options.runs)
        exported[quantized.exported.format] = quantized.exported
    models = {"pruned": model, "dense": dense.model}
    on_test = {name: evaluation.quality(task, each, data.test) for name, each in models.items()}
    examples = count(data.test)
    found, drawn = intervals(task, models, on_test, data.test, examples, experiment.settings.seed)
    final = Final(
        chosen=chosen,
        reason=reason,
        test_quality=on_test["pruned"],
        dense_test_quality=on_test["dense"],
        test_examples=examples,
        test_intervals=found,
        interval=drawn,
        latency_ms={} if one_file else _latencies(experiment, task, dense, chosen, worth),
        files={name: each.file for name, each in exported.items()},
        exported=exported,
        left_out=left_out,
        recovery=recovery,
        quantized=quantized,
        fine_tuned=fine_tuned,
        worth=worth,
    )
    if not one_file:
        place.mkdir(parents=True, exist_ok=True)  # there may be no other file in it
        write_text(place / "front.csv", front_as_csv(experiment, final=final))
    cards = write_card(model_card(experiment, final), stem)
    return replace(final, cards=cards)


def _latencies(
    experiment: Experiment, task: Task, dense: Dense, chosen: Trial, worth: Worth | None
) -> dict[str, float]:
    """Time the dense model, the front, its rival and the baselines in turn, as the experiment's trials were timed.

    What takes long to prepare (torch.compile) is not timed again.
    """
    settings = experiment.settings
    if settings.latency == "compile":
        return {}
    models: dict[str, nn.Module] = {"dense": dense.model}
    rival = [worth.trial] if worth else []
    for trial in [*experiment.front(), chosen, *rival, *(t for ts in experiment.baselines.values() for t in ts)]:
        models[trial.id] = export.load_pruned(task, trial.model_file).to(dense.device)
    how = (task.example, settings.latency, settings.latency_batch)
    times = latency.time_in_turn([latency.make_pass(model, *how) for model in models.values()])
    return {name: latency.median(each) for name, each in zip(models, times, strict=True)}
