"""Making the tuner or assessor that a config names, or saying in one line why that cannot be."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from typing import Any, Literal

from autoprune.errors import UserError

Kind = Literal["tuner", "assessor"]


def create(config: dict[str, Any], kind: Kind) -> Any:
    """Make the algorithm of one ``tuner`` or ``assessor`` section of a config (in NNI's JSON form), as NNI calls it.

    Raises:
        UserError: the algorithm does not exist, cannot be imported, or does not take its ``classArgs``.
    """
    label = f"{kind} {config.get('name') or config.get('className')}"
    algorithm, arguments = _find(config, kind, label)
    try:
        made = algorithm(**arguments)
    except Exception as error:
        # No frame below ours: Python refused the call itself, and its text says all.
        refused = (
            isinstance(error, TypeError) and error.__traceback__ is not None and error.__traceback__.tb_next is None
        )
        raise UserError(f"{label}: {one_line(error) if refused else describe(error)}") from error
    from autoprune.nni.tuners import served  # imports nni, which need not be there to print an error

    return served(made)


def describe(error: BaseException) -> str:
    """Return the type and text of an exception as one line."""
    return f"{type(error).__name__}: {one_line(error)}"


def one_line(error: BaseException) -> str:
    """Return the text of an exception on one line."""
    return " ".join(str(error).split())


def callback_of(error: BaseException, algorithm: Any) -> str | None:
    """Return the name of the innermost public method of ``algorithm``, or of ours within, that raised ``error``."""
    own = (algorithm, getattr(algorithm, "original", algorithm))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_code.co_name for frame in frames if any(frame.f_locals.get("self") is each for each in own)]
    return next((name for name in reversed(names) if not name.startswith("_")), None)


def _find(config: dict[str, Any], kind: Kind, label: str) -> tuple[type, dict[str, Any]]:
    arguments = config.get("classArgs") or {}
    if not config.get("name"):
        return _load_class(config["className"], config.get("codeDirectory"), label), arguments

    from nni.tools.package_utils import get_all_algo_meta

    known = [meta for meta in get_all_algo_meta() if meta.algo_type == kind]
    by_name = {name.lower(): meta for meta in known for name in (meta.name, meta.alias) if name}
    meta = by_name.get(config["name"].lower())
    if meta is None:
        hint = _did_you_mean(config["name"], [meta.name for meta in known])
        raise UserError(f"{label}: no built-in {kind} of this name{hint}")
    return _load_class(meta.class_name, None, label), {**(meta.class_args or {}), **arguments}


def _load_class(qualified_name: str, code_directory: str | None, label: str) -> type:
    if code_directory:
        if not os.path.isdir(code_directory):  # noqa: PTH112
            raise UserError(f"{label}: codeDirectory {code_directory} is not a directory")
        sys.path.append(code_directory)
    module_name, _, class_name = qualified_name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"{label}: cannot import module {module_name or qualified_name!r}: {describe(error)}"
        ) from error
    if not hasattr(module, class_name):
        hint = _did_you_mean(class_name, [name for name, item in vars(module).items() if isinstance(item, type)])
        raise UserError(f"{label}: no class {class_name} in module {module_name}{hint}")
    return getattr(module, class_name)


def _did_you_mean(name: str, known: list[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), lowered, n=3)
    return f"; did you mean {' or '.join(lowered[match] for match in matches)}?" if matches else ""
