"""A search from Python, in one process and without NNI's manager: for notebooks, scripts and quick tests."""

from __future__ import annotations

import inspect
import itertools
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from autoprune import search
from autoprune.api.budget import planned_for, until
from autoprune.api.engine import Engine
from autoprune.api.result import SearchResult
from autoprune.base.checked import Count, check
from autoprune.base.device import resolve
from autoprune.base.places import check_folder
from autoprune.base.progress import track
from autoprune.base.quiet import quiet_loggers
from autoprune.base.tree import device_of
from autoprune.errors import UserError, short
from autoprune.measure import latency
from autoprune.prune import dense
from autoprune.prune.find import find_groups
from autoprune.report import loggers
from autoprune.report.terminal import side_console
from autoprune.report.waiting import told, waiting
from autoprune.results import baselines as baselines_
from autoprune.results.experiment import Trial, read_duration
from autoprune.results.pareto import DEFAULT_OBJECTIVES
from autoprune.results.settings import TrialCommand
from autoprune.search import loop
from autoprune.search.quiet import quiet_optuna
from autoprune.search.space import build_space
from autoprune.search.tuners import TUNERS
from autoprune.search.tuners.base import Tuner
from autoprune.search.tuners.optuna.tuner import OptunaTuner
from autoprune.task.find import load_task
from autoprune.task.task import Task
from autoprune.trial.setup import check_objectives, check_task_space, default_schedules, in_precision


def run_search(
    task: Task | str | nn.Module,
    trials: int = 30,
    objectives: Sequence[str] | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    space: Mapping[str, Mapping[str, Any]] | None = None,
    baselines: bool = True,
    folder: str | Path | None = None,
    *,
    checkpoint: str | Path | None = None,
    initial: str | Path | None = None,
    round_to: int = 8,
    latency_runtime: str = "eager",
    latency_batch: int = 1,
    warm_start: bool = True,
    constraints: Sequence[str] = (),
    rungs: bool = True,
    tuner: Tuner | str = "optuna",
    on_trial: Callable[[Trial], None] | None = None,
    device: str | None = None,
    precision: str | None = None,
    progress: bool | None = None,
    log: str | Sequence[str] = (),
    tie: Sequence[str] = (),
    width: bool = False,
    budget: float | str | None = None,
    **of_task: Any,
) -> SearchResult:
    """Search a task's Pareto front in this process, one trial after the other, on one CPU thread.

    The same call gives the same front on the same machine, unless latency is an objective. A trial that fails is
    recorded with its reason, and the search goes on. An interrupt (Ctrl-C, a notebook's stop button) ends the search
    and returns what was found.

    Args:
        task: a task, a built-in one's name, ``FILE.py[:ATTRIBUTE]`` or ``MODULE:ATTRIBUTE``; or a trained model, with
            ``train``, ``validation`` and ``example`` (see ``of_task``).
        trials: candidates that the tuner proposes; the baselines come on top.
        objectives: usually the task's metric and one of ``params``, ``macs``, ``bytes``, ``latency_ms``; the metric and
            ``macs`` if None.
        sampler: a name in :data:`autoprune.search.tuners.optuna.tuner.SAMPLERS`.
        seed: of the dense training, the recoveries and the sampler.
        space: a search space in NNI's format; built from the model's coupled groups if None.
        baselines: whether uniform L1 filter pruning and lottery tickets run as well, three sizes each.
        folder: where the trials' models and results are kept; a temporary one, deleted with the result, if None.
        checkpoint: a state dict of the trained dense model; without one it is trained, or taken from the cache.
        initial: a state dict of the weights that the checkpoint's training began with; without it there are no
            lottery tickets beside a checkpoint, whether as baselines or in the space.
        round_to: kept channels are a multiple of this.
        latency_runtime: where ``latency_ms`` is measured: ``eager``, ``compile``, ``onnxruntime`` or ``openvino``.
        latency_batch: examples per pass in that measurement.
        warm_start: whether the search is prepared: sensitivities probed, first candidates solved for.
        constraints: limits that the answer keeps within, such as ``("drop<=1%", "macs<=20M")``.
        rungs: whether candidates start on a small budget, and the best third goes on.
        tuner: what proposes candidates: ``optuna`` (:class:`autoprune.search.OptunaTuner`, which alone takes
            ``sampler`` and ``rungs``, and heeds ``constraints`` and ``objectives`` while it searches), ``amc``, another
            name in :data:`autoprune.search.tuners.TUNERS`, or any :class:`autoprune.search.Tuner` that has not searched
            yet. A tuner that is named gets ``seed``.
        on_trial: called with each trial as it ends.
        progress: whether it is shown, on stderr, what is being done, how far it is, and the best so far: bars in a
            terminal, a line now and then elsewhere. If None, in a terminal and in a notebook.
        log: trackers that are told what the search finds: ``tensorboard``, ``mlflow``, ``wandb``, or another name in
            :data:`autoprune.report.loggers.LOGGERS`. One that fails midway is left out, with a warning.
        budget: the time of the search, in seconds or such as ``"20m"``, which it plans with
            (:func:`autoprune.trial.plan.plan`): how many candidates, and how long what is trained in full. ``trials``
            does not count then. The front's fine-tuning, which :meth:`.SearchResult.export` does, comes on top.
        precision: in which networks are trained: ``fp32``, ``bf16``, ``fp16``; as the task's recipes have it if None.
        tie: kinds of groups that have one sparsity together (``mlp``, ``heads``, ``width``, ``channels``), where no
            ``space`` is given.
        width: whether channels under norms may go too: the residual stream. It changes the function.
        device: where networks are trained and judged: ``cpu``, ``auto`` (the accelerator that PyTorch sees), ``cuda``,
            ``cuda:1``, ``mps``, ``xpu``. If None, where a trained model that is given lies, else the CPU.
        **of_task: where a model was given, what :class:`autoprune.Task` takes: ``train``, ``validation``, ``example``,
            and ``test``, ``loss``, ``metric`` and the like. Without ``test`` figures called so are of ``validation``.

    Raises:
        UserError: an unknown task, objective, tuner, sampler, runtime or logger, a device that is not there, a wrong
            space, a folder that holds a search already, a logger that cannot begin, a budget that is too short.

    Example:
        >>> import autoprune
        >>> result = autoprune.run_search("digits", trials=2, baselines=False)
        >>> len(result.candidates)
        2
    """
    check("trials", trials, Count)
    seconds = None if budget is None else read_duration(budget)
    log = loggers.checked(log)
    latency.check(latency_runtime, latency_batch, 1)
    found = _task_of(task, of_task)
    settings = TrialCommand.checked(
        task=task if isinstance(task, str) else found.name,
        checkpoint=None if checkpoint is None else str(checkpoint),
        initial=None if initial is None else str(initial),
        seed=seed,
        round_to=round_to,
        baselines=baselines,
        latency=latency_runtime,
        latency_batch=latency_batch,
        warm_start=warm_start,
        rewinding=not found.is_trained,
        metric=found.metric.to_word(),
        precision=precision,
        width=width,
        device=str(device or (device_of(found.model) if isinstance(found.model, nn.Module) else "cpu")),
    )
    settings = replace(settings, device=str(resolve(settings.device)))
    found = in_precision(found, settings)
    objectives = (found.metric.name, *DEFAULT_OBJECTIVES[1:]) if objectives is None else objectives
    arguments = {"objectives": objectives, "sampler": sampler, "seed": seed, "constraints": constraints, "rungs": rungs}
    OptunaTuner.validate(**arguments)
    check_objectives(found, objectives, constraints)
    settings = settings.measuring(objectives, constraints or ())
    _check_tuner(tuner, sampler, rungs)
    if folder is not None:
        check_folder(Path(folder))
    with latency.pinned(1), quiet_optuna(), quiet_loggers(), ExitStack() as ends:
        model = found.build(seed)
        groups = find_groups(model, found.example, found.keep, allow_inexact=width)
        if space is None:
            space = build_space(groups, schedules=default_schedules(found), tie=tie)
        elif tie:
            raise UserError("tie is for a space that is built now: a space that is given says itself what is tied")
        space = dict(space)
        check_task_space(found, model, groups, space, settings.knows_initial)
        kind: Any = TUNERS[tuner] if isinstance(tuner, str) else type(tuner)
        own = _own_arguments(tuner, kind, arguments)
        if "check_search" in vars(kind):
            kind.check_search(space, warm_start, **own)
        if isinstance(tuner, Tuner):
            tuner.update_search_space(space)
        data = found.splits()
        numbers: Iterable[int] = range(trials)
        if seconds is not None:
            planned = planned_for(settings, found, data, groups, space, seconds)
            trials, numbers = planned.trials, until(time.monotonic() + seconds)
            found = replace(found, supernet_steps=planned.supernet_steps or found.supernet_steps)
            own |= {"recoveries": planned.recoveries} if tuner == "optuna" else {}
        about = {"trial command": shlex.join(settings.to_words()), "trials": trials, "tuner": kind.__qualname__, **own}
        logs = ends.enter_context(loggers.Log(log, found.name, about, _say, warnings.warn))
        ends.enter_context(told(logs.doing))
        with _shown(progress, f"Training the dense model of {found.name}, or taking it from the cache"):
            loaded = (found, data, dense.load_or_train(found, data, checkpoint, seed, initial, settings.device, width))
        for said in loaded[2].notes:
            warnings.warn(said, stacklevel=2)
        keeper = None
        if folder is None:
            keeper = tempfile.TemporaryDirectory(prefix="autoprune-")
            folder = keeper.name
        place = _new_folder(Path(folder))
        stated = own | {"objectives": list(objectives), "constraints": list(constraints or ())}
        config = _config(settings, found.name, trials, kind, stated, space)
        if isinstance(tuner, Tuner):
            proposes = tuner
        else:
            proposes = kind(**own, **_storage(kind, place))
            proposes.update_search_space(space)
        first = baselines_.first(config["trialCommand"], space)
        channels = {group.name: group.channels for group in groups}
        with _shown(progress, f"Searching {found.name}"):
            total = trials + len(first)
            places = iter(track(itertools.count(), "trial", total))
            result = SearchResult(place.name, place, config, [], loaded, keeper, metric=found.metric)
            engine = Engine(settings, loaded, channels, place, on_trial, places, result, logs)
            with suppress(KeyboardInterrupt):
                loop.search(proposes, engine.run, numbers, first, engine.folders)
        result = replace(result, trials=engine.trials)
        logs.end(result)
    return result


def _say(words: str) -> None:
    side_console().print(words, markup=False, highlight=False, soft_wrap=True)


def _shown(progress: bool | None, heading: str) -> AbstractContextManager[None]:
    """Show what goes on within, if somebody is there to see it."""
    if progress or (progress is None and (sys.stderr.isatty() or "ipykernel" in sys.modules)):
        return waiting(side_console(), heading)
    return nullcontext()


def _task_of(task: Task | str | nn.Module, options: dict[str, Any]) -> Task:
    """Return the task that was meant.

    Raises:
        UserError: none is known by that name; a model without its data; options of a task that is there already.
    """
    if isinstance(task, nn.Module):
        missing = [name for name in ("train", "validation", "example") if options.get(name) is None]
        if missing:
            raise UserError(f"run_search(model, ...) needs {' and '.join(missing)}: run_search(model, train=..., ...)")
        unknown = sorted(set(options) - set(inspect.signature(Task).parameters))
        if unknown:
            raise UserError(f"run_search and Task take no {unknown[0]}")
        if options.get("test") is None:
            warnings.warn("no test split was given: figures called so are of the validation split", stacklevel=3)
            options = options | {"test": options["validation"]}
        return Task(**{"name": type(task).__name__} | options, model=task)
    if options:
        raise UserError(f"{min(options)} goes with a model, run_search(model, ...): a task has its own")
    return load_task(task) if isinstance(task, str) else task


def _check_tuner(tuner: Tuner | str, sampler: str, rungs: bool) -> None:
    if isinstance(tuner, str):
        if not issubclass(TUNERS[tuner], Tuner):
            raise UserError(f"tuner {tuner} is no autoprune.search.Tuner")
    elif not isinstance(tuner, Tuner):
        raise UserError(
            f"tuner must be one of {', '.join(TUNERS)} or an autoprune.search.Tuner, not {short(tuner)}: "
            "wrap one of NNI's in autoprune.nni.tuners.NniTuner"
        )
    if tuner != "optuna" and (sampler != "tpe" or not rungs):
        raise UserError("sampler and rungs are OptunaTuner's: with another tuner, leave them out")


def _own_arguments(tuner: Tuner | str, kind: type[Tuner], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those of the search's arguments that its tuner is made with."""
    if tuner == "optuna":
        return arguments
    named = isinstance(tuner, str) and "seed" in inspect.signature(kind).parameters
    return {"seed": arguments["seed"]} if named else {}


def _storage(kind: type[Tuner], place: Path) -> dict[str, str]:
    """Return where a tuner that is named keeps its state, if it keeps any."""
    if "storage" not in inspect.signature(kind).parameters:
        return {}
    return {"storage": str(place / ("optuna.journal" if kind is OptunaTuner else "checkpoint"))}


def _new_folder(folder: Path) -> Path:
    if (folder / "trials").exists():
        raise UserError(f"{folder} holds a search already: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _config(
    settings: TrialCommand,
    name: str,
    trials: int,
    kind: type[Tuner],
    arguments: dict[str, Any],
    space: dict[str, Any],
) -> dict[str, Any]:
    """Return the config of the same search with NNI, as far as one can say it of a tuner that was handed over."""
    own = kind.__name__ in search.__all__
    return {
        "experimentName": name,
        "trialCommand": shlex.join(settings.to_words()),
        "trialCodeDirectory": str(Path.cwd()),
        "trialConcurrency": 1,
        "maxTrialNumber": trials + len(baselines_.first(shlex.join(settings.to_words()), space)),
        "tuner": {
            "className": f"{search.__name__ if own else kind.__module__}.{kind.__qualname__}",
            "codeDirectory": ".",
            "classArgs": arguments,
        },
        "trainingService": {"platform": "local"},
        "searchSpace": dict(space),
    }
