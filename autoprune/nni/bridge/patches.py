"""Patches to NNI's launcher: every manager that this process starts is checked, mended and waited for."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
from nni.experiment import Experiment, RunMode, launcher
from nni.experiment.config import ExperimentConfig
from nni.tools.nnictl.config_utils import Experiments

from autoprune.base.files import write_text
from autoprune.base.printable import printable
from autoprune.errors import UserError
from autoprune.nni import client
from autoprune.nni.bridge.manager import (
    START_LIMIT,
    TunerFailed,
    check_port,
    end_manager,
    end_orphans,
    failure,
    wait_for_tuner,
)
from autoprune.nni.bridge.opened import token
from autoprune.nni.bridge.viewing import OnlyAnswering, as_it_was
from autoprune.nni.config import refusal
from autoprune.nni.rescue import rescued

PRELOAD = Path(__file__).resolve().with_name("manager.js")

_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)
"""Whether configs were checked before: NNI's launcher has no argument that would say so."""


def install_patches() -> None:
    """Preload the mended manager, and put our checks around NNI's launcher. Idempotent."""
    # `autoprune trial` and `python` mean this environment's, also where it was not activated.
    programs = str(Path(sys.executable).parent)
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    # The Pareto page's plotting library; found without importing it.
    plotly = importlib.util.find_spec("plotly")
    if plotly and plotly.origin:
        os.environ["AUTOPRUNE_PLOTLY"] = str(Path(plotly.origin).with_name("package_data") / "plotly.min.js")
    # Node reads NODE_OPTIONS; JSON's quotes are its quotes.
    preload = f"--require {json.dumps(str(PRELOAD), ensure_ascii=False)}"
    options = os.environ.get("NODE_OPTIONS", "")
    if preload not in options:
        os.environ["NODE_OPTIONS"] = f"{options} {preload}".strip()
    if not hasattr(launcher.start_experiment, "__wrapped__"):
        launcher.start_experiment = _checked(launcher.start_experiment)
        launcher._start_rest_server = _awaited(launcher._start_rest_server)
        Experiment._wait_completion = _wait_completion
        logging.getLogger("nni.experiment").addFilter(OnlyAnswering())
        Experiments.read_file = _read_registry
        Experiments.write_file = _write_registry
        ExperimentConfig.canonical_copy = _explained(ExperimentConfig.canonical_copy)


def _checked(original: Any) -> Any:
    """Wrap ``nni.experiment.launcher.start_experiment``."""

    @functools.wraps(original)
    def start_experiment(
        action: str,
        exp_id: str,
        config: ExperimentConfig,
        port: int,
        debug: bool,
        run_mode: RunMode,
        url_prefix: str | None,
        tuner_command_channel: str | None = None,
        tags: Sequence[str] = (),
    ) -> Popen:
        try:
            _check(action, config, port)
            if action == "resume":
                end_orphans(exp_id)
            looked_at = as_it_was(exp_id, config) if action == "view" else contextlib.nullcontext()
            with token(port, url_prefix), looked_at:
                try:
                    manager = original(
                        action, exp_id, config, port, debug, run_mode, url_prefix, tuner_command_channel, list(tags)
                    )
                except OSError as error:  # of NNI's client
                    raise TunerFailed("NNI's manager ended while it started; see log/nnimanager.log") from error
            # With a channel given, the tuner is in this process and connects later.
            if action != "view" and tuner_command_channel is None:
                wait_for_tuner(manager, port, url_prefix)
            return manager
        except (UserError, TunerFailed) as error:
            _exit_if_nnictl(error)
            raise
        except BaseException:  # Ctrl-C, or a signal
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if exp_id in child.cmdline():
                        end_manager(child.pid, port, url_prefix)
            raise

    return start_experiment


def _awaited(original: Any) -> Any:
    """Wrap ``launcher._start_rest_server``: on a busy machine, NNI gives up on its own manager after three seconds."""

    @functools.wraps(original)
    def _start_rest_server(arguments: launcher.NniManagerArgs, run_mode: RunMode) -> Popen:
        manager = original(arguments, run_mode)
        end = time.monotonic() + START_LIMIT
        while manager.poll() is None and time.monotonic() < end:
            try:
                client.get(arguments.port, "check-status", arguments.url_prefix)
                return manager
            except OSError:  # it does not listen yet, or does not answer in JSON yet
                time.sleep(0.1)
        raise TunerFailed("NNI's manager did not start; see log/nnictl_stderr.log and log/nnimanager.log")

    return _start_rest_server


def _read_registry(experiments: Experiments) -> dict[str, Any]:
    """Replace ``Experiments.read_file``, which takes a damaged registry for an empty one, and so has it emptied."""
    file = Path(experiments.experiment_file)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return rescued(file)


def _write_registry(experiments: Experiments) -> None:
    """Replace ``Experiments.write_file``, which leaves half a registry if it is killed."""
    write_text(Path(experiments.experiment_file), json.dumps(experiments.experiments, indent=4))


def _wait_completion(experiment: Experiment) -> bool:
    """Replace ``Experiment._wait_completion``, after which ``nnictl create --foreground`` exits with 0 on any error."""
    while True:
        status = client.get(experiment.port, "check-status", experiment.url_prefix)
        if status["status"] == "ERROR":
            _exit_if_nnictl(failure(status))
        if status["status"] in ("DONE", "STOPPED", "ERROR"):
            return status["status"] != "ERROR"
        time.sleep(1)


def _explained(original: Any) -> Any:
    """Wrap ``ExperimentConfig.canonical_copy``, whose errors ``nnictl`` prints as tracebacks, often without a word."""

    @functools.wraps(original)
    def canonical_copy(config: ExperimentConfig) -> ExperimentConfig:
        try:
            return original(config)
        except Exception as error:
            _exit_if_nnictl(UserError(f"the config: {refusal(error)}"))
            raise

    return canonical_copy


def _exit_if_nnictl(error: Exception) -> None:
    """Turn an error into one line and an exit status, where plain ``nnictl`` would print a long traceback."""
    if "nni.tools.nnictl.nnictl" in sys.modules:
        print(printable(f"autoprune: {error}"), file=sys.stderr, flush=True)
        raise SystemExit(2 if isinstance(error, UserError) else 1)


@contextlib.contextmanager
def trusting(checked: bool) -> Iterator[None]:
    """Start managers without checking their configs, if those were ``checked`` before."""
    before = _TRUSTED.set(checked)
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def _check(action: str, config: ExperimentConfig, port: int) -> None:
    remote = action != "view" and getattr(config.training_service, "platform", "hybrid") != "local"
    for needed in [port, port + 1] if remote else [port]:  # NNI keeps port + 1 for machines that call back
        check_port(needed)
    if action == "create" and not _TRUSTED.get():
        from autoprune.nni import preflight

        preflight.check_and_complete(config)
