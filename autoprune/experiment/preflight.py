"""Checking an experiment's config before anything starts."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import re
import sys
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.errors import UserError
from autoprune.search.command import TrialCommand
from autoprune.search.space import load_yaml

if TYPE_CHECKING:
    from nni.experiment.config import AlgorithmConfig, ExperimentConfig


def load_config(path: str | Path) -> ExperimentConfig:
    """Read an NNI config file, its paths made absolute.

    Raises:
        UserError: it is missing, is not YAML (with line and column), or is not a config that NNI takes.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not an NNI config: it must map names to values")
    space_file = content.get("searchSpaceFile")
    if isinstance(space_file, str):
        load_yaml(Path(path).parent / space_file)
    from nni.experiment.config import ExperimentConfig
    from nni.experiment.config.utils.internal import camel_case

    known = [camel_case(field.name) for field in dataclasses.fields(ExperimentConfig)]
    for name in content:
        if str(name).lower().replace("_", "") not in [each.lower() for each in known]:
            near = difflib.get_close_matches(str(name), known)
            hint = f"did you mean {near[0]}?" if near else "see docs/config.md"
            raise UserError(f"{path}: unknown field {name}: {hint}")
    try:
        return ExperimentConfig.load(path).canonical_copy()
    except Exception as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


def check(config: ExperimentConfig) -> None:
    """Check all that can be checked before an experiment starts: task, data, checkpoint, search space and tuner.

    A config whose trial command does not run ``autoprune trial`` is not AutoPrune's to judge.

    Raises:
        UserError: something is wrong.
    """
    settings = TrialCommand.parse(str(config.trial_command))
    if settings is None:
        return
    name = config.experiment_name or ""
    if name.startswith(".") or not re.fullmatch(r"[^/\\\x00-\x1f]*", name):
        raise UserError(f"experimentName {name!r} names a folder: it must not start with a dot or have slashes in it")
    check_tuner(config.tuner)
    with chdir(config.trial_code_directory):
        from autoprune.dense import load_checkpoint
        from autoprune.experiment.setup import check_task_space, settings_task
        from autoprune.pruning.groups import find_groups

        task = settings_task(settings)
        model = task.build(settings.seed)
        if settings.checkpoint:
            load_checkpoint(model, settings.checkpoint, task.name)
        if settings.initial:
            load_checkpoint(task.build(settings.seed), settings.initial, task.name)
        space = config.search_space
        if space is None and config.search_space_file is not None:
            space = load_yaml(config.search_space_file)
        groups = find_groups(model, task.example_input, task.keep)
        check_task_space(task, model, groups, space, settings.knows_initial)
        task.data()


def check_tuner(tuner: AlgorithmConfig | None) -> None:
    """Check that the tuner exists and takes the arguments it is given.

    Raises:
        UserError: it does not, with the near matches.
    """
    if tuner is None:
        raise UserError(
            "the config names no tuner: use `className: autoprune.search.OptunaTuner`, or NNI's `name: TPE`"
        )
    arguments = tuner.class_args or {}
    name = getattr(tuner, "name", None)
    if isinstance(name, str) and name:
        _check_built_in(name, arguments)
        return
    module_name, _, class_name = tuner.class_name.rpartition(".")
    if getattr(tuner, "code_directory", None):
        sys.path.insert(0, str(tuner.code_directory))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"tuner {tuner.class_name}: module {module_name or '(none)'} cannot be imported: {error}"
        ) from None
    found = getattr(module, class_name, None)
    if found is None:
        near = difflib.get_close_matches(class_name, [*dir(module), *getattr(module, "__all__", [])])
        hint = f": did you mean {module_name}.{near[0]}?" if near else ""
        raise UserError(f"tuner {tuner.class_name}: {module_name} has no class {class_name}{hint}")
    _check_arguments(tuner.class_name, found, arguments)


def _check_arguments(name: str, tuner: type, arguments: dict[str, Any]) -> None:
    try:
        inspect.signature(tuner).bind(**arguments)
    except TypeError as error:
        raise UserError(f"tuner {name}: {error}; it takes {', '.join(inspect.signature(tuner).parameters)}") from None
    if hasattr(tuner, "validate"):
        tuner.validate(**arguments)


def _check_built_in(name: str, arguments: dict[str, Any]) -> None:
    from nni.tools.package_utils.config_manager import get_algo_meta, get_all_algo_meta
    from nni.tools.package_utils.tuner_factory import create_validator_instance

    meta = get_algo_meta(name)
    if meta is None or meta.algo_type != "tuner":
        known = {meta.name.lower(): meta.name for meta in get_all_algo_meta() if meta.algo_type == "tuner"}
        near = [known[match] for match in difflib.get_close_matches(name.lower(), known)] or sorted(known.values())
        raise UserError(
            f"unknown tuner {name!r}: NNI has {', '.join(near)}; AutoPrune's are autoprune.search.OptunaTuner "
            "and autoprune.search.AmcTuner"
        )
    module, _, class_name = meta.class_name.rpartition(".")
    try:
        tuner = getattr(importlib.import_module(module), class_name)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"tuner {name} does not run here: {why}; use TPE, Evolution or Random") from None
    _check_arguments(name, tuner, arguments)
    validator = create_validator_instance("tuners", meta.name)
    if validator:
        try:
            validator.validate_class_args(**arguments)
        except Exception as error:
            raise UserError(f"tuner {name}: {' '.join(str(error).split())}") from None
