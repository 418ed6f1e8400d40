"""Checking an experiment before anything starts."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.base.places import check_folder
from autoprune.base.yaml_file import load_yaml
from autoprune.errors import UserError, short
from autoprune.nni.algorithms import Kind, one_line
from autoprune.nni.config import load_config
from autoprune.results.measures import METRIC, Measure
from autoprune.results.pareto import DEFAULT_OBJECTIVES, read_rule
from autoprune.results.settings import TrialCommand

if TYPE_CHECKING:
    from nni.experiment.config import AlgorithmConfig, ExperimentConfig
    from torch import nn

    from autoprune.prune.groups import Groups
    from autoprune.task.task import Task

__all__ = ["check_algorithm", "check_and_complete", "check_rule", "load_config", "measure_what_is_asked"]

TRY_LIMIT = 60
"""Seconds that a tuner of NNI's or somebody else's has to be made, on trial."""


@dataclass(frozen=True)
class Checked:
    """What was made for the check, and may serve others: the task, its untrained network, and that one's groups."""

    task: Task
    model: nn.Module
    groups: Groups


def check_and_complete(config: ExperimentConfig, rule: str | None = None) -> Checked | None:
    """Check all that can be checked before an experiment starts: task, data, device, checkpoint, space and tuner.

    What task and machine say (the metric, the device, that a model comes trained) is written into the config's trial
    command, for other processes and whoever reads the results. A config whose trial command does not run ``autoprune
    trial`` is not AutoPrune's to judge.

    Args:
        config: as NNI takes it, with absolute paths.
        rule: by which a model will be chosen at the end, if one is known.

    Returns:
        What was looked at; None if it is not AutoPrune's to judge.

    Raises:
        UserError: something is wrong.
    """
    settings = TrialCommand.parse(str(config.trial_command))
    if settings is None:
        return None
    name = config.experiment_name or ""
    if name.startswith(".") or not re.fullmatch(r"[^/\\\x00-\x1f]*", name):
        raise UserError(f"experimentName {name!r} names a folder: it must not start with a dot or have slashes in it")
    check_folder(Path(config.experiment_working_directory))
    with chdir(config.trial_code_directory):
        from autoprune import engine
        from autoprune.base.device import resolve
        from autoprune.measure import latency
        from autoprune.prune.dense import load_checkpoint
        from autoprune.prune.find import find_groups
        from autoprune.train.fit import check_data
        from autoprune.trial.setup import check_objectives, check_task_space, settings_task

        engine.chosen(settings.to_words()[2:])
        latency.check(settings.latency, settings.latency_batch, 1)
        device = resolve(settings.device)
        task = settings_task(settings)
        found = task.metric.to_word(), task.is_trained, str(device)
        config.trial_command, settings = _completed(str(config.trial_command), settings, *found)
        if rule is not None:
            check_rule(config, rule, task.metric)
        model = task.build(settings.seed)
        if settings.checkpoint:
            load_checkpoint(model, settings.checkpoint, task.name)
        if settings.initial:
            load_checkpoint(task.build(settings.seed), settings.initial, task.name)
        space = config.search_space
        if space is None and config.search_space_file is not None:
            space = load_yaml(config.search_space_file)
        groups = find_groups(model, task.example, task.keep, settings.width)
        check_task_space(task, model, groups, space, settings.knows_initial)
        notes = check_data(task, task.splits(), model)
        given = (config.tuner.class_args if config.tuner else None) or {}
        if isinstance(given.get("objectives", []), list) and isinstance(given.get("constraints") or [], list):
            asked = given.get("objectives", DEFAULT_OBJECTIVES), given.get("constraints") or ()
            check_objectives(task, *asked)
            measure_what_is_asked(config, *asked)
    for note in notes:
        print(f"autoprune: {note}", file=sys.stderr)
    # Not in that folder: the tuner's process begins where this one is, and a storage may be named from there.
    check_algorithm("tuner", config.tuner, space, settings.warm_start)
    if config.assessor is not None:
        check_algorithm("assessor", config.assessor, space, settings.warm_start)
    return Checked(task, model, groups)


def measure_what_is_asked(
    config: ExperimentConfig, objectives: Sequence[str] = (), constraints: Sequence[str] = ()
) -> None:
    """Let the config's trials take the optional measures that objectives and constraints name.

    Raises:
        UserError: the trial command or a constraint cannot be read.
    """
    settings = TrialCommand.parse(str(config.trial_command))
    if settings is not None and settings != (asked := settings.measuring(objectives, constraints)):
        config.trial_command = f"{config.trial_command} --also {asked.also}"


def check_rule(config: ExperimentConfig, rule: str, metric: Measure) -> None:
    """Check the rule by which a model is chosen at the end, and let the trials measure what it names.

    Args:
        metric: the task's, which it may name.

    Raises:
        UserError: it is not understood.
    """
    if read_rule(rule, metric) is not None:
        measure_what_is_asked(config, constraints=[rule])


def _completed(
    command: str, settings: TrialCommand, word: str, is_trained: bool, device: str
) -> tuple[str, TrialCommand]:
    """Return the trial command with what task and machine say, and its settings.

    Args:
        word: names the task's metric.
        is_trained: whether the task comes with a trained model.
        device: what ``--device auto`` is here.

    Raises:
        UserError: it names another metric.
    """
    said: dict[str, Any] = {}
    if is_trained and settings.rewinding:
        command, said["rewinding"] = f"{command} --no-rewinding", False
    if settings.device == "auto":
        command, said["device"] = f"{command} --device {device}", device
    if word != settings.metric:
        if settings.metric != METRIC.name:
            raise UserError(f"the trial command has --metric {settings.metric}, and task {settings.task} {word}")
        command, said["metric"] = f"{command} --metric {shlex.quote(word)}", word
    return command, replace(settings, **said)


def check_algorithm(kind: Kind, section: AlgorithmConfig | None, space: Any, warm_start: bool = True) -> None:
    """Check that a tuner or an assessor exists, takes the arguments it is given, and then the search space.

    One that has a method ``check_search`` says itself whether it does, without being made. Others are made on trial in
    a process of their own.

    Args:
        space: in NNI's format, checked already.
        warm_start: whether the search is prepared, see :class:`autoprune.results.settings.TrialCommand`.

    Raises:
        UserError: it does not, with the near matches.
    """
    if section is None:
        raise UserError(
            f"the config names no {kind}: use `className: autoprune.search.OptunaTuner`, or NNI's `name: TPE`"
        )
    arguments = section.class_args or {}
    name = getattr(section, "name", None)
    found: Any = _built_in(kind, name) if name else _own(kind, section)
    label = f"{kind} {short(name or section.class_name)[1:-1]}"
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:
        raise UserError(f"{label}: {error}; it takes {', '.join(inspect.signature(found).parameters)}") from None
    if "check_search" in vars(found):
        found.check_search(space, warm_start, **arguments)
        return
    if name:
        _ask_validator(kind, name, label, arguments)
    from nni.runtime.msg_dispatcher_base import MsgDispatcherBase

    if issubclass(found, MsgDispatcherBase):  # NNI's advisors speak with a manager as soon as they are made
        return
    _try(kind, section, label, space)


def _own(kind: Kind, section: AlgorithmConfig) -> type:
    module_name, _, class_name = section.class_name.rpartition(".")
    if getattr(section, "code_directory", None):
        sys.path.insert(0, str(section.code_directory))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"{kind} {section.class_name}: module {module_name or '(none)'} cannot be imported: {one_line(error)}"
        ) from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        near = difflib.get_close_matches(class_name, [*dir(module), *getattr(module, "__all__", [])])
        hint = f": did you mean {module_name}.{near[0]}?" if near else ""
        raise UserError(f"{kind} {section.class_name}: {module_name} has no class {class_name}{hint}")
    return found


def _built_in(kind: Kind, name: str) -> type:
    from nni.tools.package_utils.config_manager import get_algo_meta, get_all_algo_meta

    meta = get_algo_meta(name)
    if meta is None or meta.algo_type != kind:
        known = {meta.name.lower(): meta.name for meta in get_all_algo_meta() if meta.algo_type == kind}
        near = [known[match] for match in difflib.get_close_matches(name.lower(), known)] or sorted(known.values())
        ours = {
            "tuner": "autoprune.search.OptunaTuner and autoprune.search.AmcTuner",
            "assessor": "autoprune.search.assessor.ParetoAssessor",
        }
        raise UserError(f"unknown {kind} {short(name)}: NNI has {', '.join(near)}; AutoPrune has {ours[kind]}")
    module, _, class_name = meta.class_name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), class_name)
    except Exception as error:
        why = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{kind} {name} does not run here: {why}; use TPE, Evolution or Random") from None


def _ask_validator(kind: Kind, name: str, label: str, arguments: dict[str, Any]) -> None:
    """Have NNI's own check of the arguments, where it has one."""
    from nni.tools.package_utils.tuner_factory import create_validator_instance

    validator = create_validator_instance(f"{kind}s", name)
    if validator:
        try:
            validator.validate_class_args(**arguments)
        except Exception as error:
            raise UserError(f"{label}: {one_line(error)}") from None


def _try(kind: Kind, section: AlgorithmConfig, label: str, space: Any) -> None:
    names = {"name": "name", "class_name": "className", "code_directory": "codeDirectory", "class_args": "classArgs"}
    given = {right: getattr(section, name, None) for name, right in names.items()}
    task = json.dumps({"kind": kind, "section": given, "space": space}, default=str)
    command = [sys.executable, "-m", "autoprune.nni.try_algorithm"]
    try:
        done = subprocess.run(command, input=task, capture_output=True, text=True, timeout=TRY_LIMIT)
    except subprocess.TimeoutExpired:
        raise UserError(f"{label}: making it takes more than {TRY_LIMIT} s") from None
    if done.returncode:
        reason = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(reason if reason.startswith(label) else f"{label}: {reason}")
