"""The door into NNI's launcher: every manager that this process starts is checked, mended and waited for."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Annotated, Any

import psutil
from nni.experiment import Experiment, RunMode, launcher, rest
from nni.experiment.config import ExperimentConfig
from nni.experiment.config.utils import parse_time
from nni.tools.nnictl.config_utils import Experiments
from pydantic import Field

from autoprune.base.checked import check
from autoprune.base.files import write_text
from autoprune.base.printable import printable
from autoprune.errors import UserError
from autoprune.nni.config import refusal
from autoprune.nni.rescue import rescued
from autoprune.results.measures import METRIC
from autoprune.results.pareto import declarations
from autoprune.results.settings import TrialCommand

PRELOAD = Path(__file__).resolve().with_name("manager.js")
START_LIMIT = 120
"""Seconds to wait for the manager, and then for the tuner; a slower tuner is left to start by itself."""


class TunerFailed(RuntimeError):
    """The manager or its tuner could not be started. Its text is one line; no process is left behind."""


def open_door() -> None:
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
        Experiments.read_file = _read_registry
        Experiments.write_file = _write_registry
        ExperimentConfig.canonical_copy = _explained(ExperimentConfig.canonical_copy)


def start(config: ExperimentConfig, port: int, url_prefix: str | None = None) -> str:
    """Start an experiment whose manager outlives this process, and wait until its tuner is up.

    Args:
        config: NNI's config.
        port: where the web UI and the API are served, on 127.0.0.1.
        url_prefix: a path under which they are served.

    Returns:
        The experiment's id.

    Raises:
        UserError: the config is wrong, or the port is in use. Nothing was started.
        TunerFailed: the tuner could not be started. Everything was stopped.
    """
    open_door()
    experiment = Experiment(config)
    experiment.url_prefix = url_prefix
    experiment.start(port, run_mode=RunMode.Detach)
    return experiment.id


def resume(
    experiment_id: str, directory: Path, port: int, trials: int | None = None, seconds: float | None = None
) -> None:
    """Go on with a stopped experiment; its manager outlives this process.

    Args:
        directory: holds the experiment's folder.
        trials: the new limit of trials, where it is raised; the time allowed starts anew then.
        seconds: the time allowed from now on, where it changes.

    Raises:
        UserError: the port is in use. Nothing was started.
        TunerFailed: the tuner could not be started. Everything was stopped.
    """
    open_door()
    config = launcher.get_stopped_experiment_config(experiment_id, directory)
    experiment = Experiment(config, experiment_id)
    experiment._action = "resume"
    experiment.start(port, run_mode=RunMode.Detach)
    limit = config.canonical_copy().max_experiment_duration
    allowed = seconds or (parse_time(limit) if trials is not None and limit else None)
    if allowed is not None:
        spent = rest.get(port, "/experiment")["execDuration"]
        changed = {"params": {"maxExperimentDuration": f"{round(spent + allowed)}s"}}
        rest.put(port, "/experiment?update_type=MAX_EXEC_DURATION", changed)
    if trials is not None:
        rest.put(port, "/experiment?update_type=MAX_TRIAL_NUM", {"params": {"maxTrialNumber": trials}})
    if allowed is not None or trials is not None:
        end = time.monotonic() + START_LIMIT
        while rest.get(port, "/check-status")["status"] == "DONE" and time.monotonic() < end:
            time.sleep(0.1)


def check_port(port: int) -> None:
    """Raise :class:`UserError` if a manager cannot listen at ``port``."""
    check("port", port, Annotated[int, Field(ge=1, le=65_535)])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Node does: what is left of closed ones is free
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise UserError(f"port {port} is the system's: choose one from 1024 up with --port") from None
        except OSError:
            raise UserError(f"port {port} is in use: choose another one with --port") from None


def stop(experiment_id: str, limit: float = 30) -> None:
    """Stop an experiment's manager, tuner and trials, by force after ``limit`` seconds. Stopped ones stay stopped."""
    experiment = Experiments().get_all_experiments().get(experiment_id, {})
    with contextlib.suppress(psutil.NoSuchProcess):
        # Its command line tells whether the noted process is still the manager, or a later one of the same number.
        if experiment.get("pid") and experiment_id in psutil.Process(experiment["pid"]).cmdline():
            _end_manager(experiment["pid"], experiment["port"], experiment.get("prefixUrl"), limit)


def end_orphans(experiment_id: str) -> int:
    """End the trials and the tuner that outlived a killed manager, and return how many processes they were.

    They would report to the next manager, as the trials that run in their place.
    """
    ended = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("NNI_EXP_ID") == experiment_id:
                process.kill()
                ended += 1
        except psutil.Error:  # gone, or somebody else's
            continue
    return ended


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
        tags: list[str] = (),
    ) -> Popen:
        try:
            _check(action, config, port)
            settings = TrialCommand.parse(str(config.trial_command))
            metric = settings.measure if settings else METRIC
            os.environ["AUTOPRUNE_MEASURES"] = json.dumps(declarations(metric))  # what the pages know of measures
            if action == "resume":
                end_orphans(exp_id)
            with _token(port, url_prefix):
                try:
                    manager = original(
                        action, exp_id, config, port, debug, run_mode, url_prefix, tuner_command_channel, list(tags)
                    )
                except OSError as error:  # of requests
                    raise TunerFailed("NNI's manager ended while it started; see log/nnimanager.log") from error
            # With a channel given, the tuner is in this process and connects later.
            if action != "view" and tuner_command_channel is None:
                _wait_for_tuner(manager, port, url_prefix)
            return manager
        except (UserError, TunerFailed) as error:
            _exit_if_nnictl(error)
            raise
        except BaseException:  # Ctrl-C, or a signal
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if exp_id in child.cmdline():
                        _end_manager(child.pid, port, url_prefix)
            raise

    return start_experiment


@contextlib.contextmanager
def _token(port: int, url_prefix: str | None) -> Iterator[None]:
    """Give the manager that starts a token of its own, if it opens an address; print it once, in its URL."""
    address = os.environ.get("AUTOPRUNE_BIND")
    if not address:
        yield
        return
    own = os.environ.get("AUTOPRUNE_TOKEN")
    token = own or secrets.token_urlsafe(24)
    if not re.fullmatch(r"[\w-]{16,}", token):
        raise UserError("AUTOPRUNE_TOKEN must be at least 16 letters, digits, - and _")
    os.environ["AUTOPRUNE_TOKEN"] = token
    try:
        yield
    finally:
        if own is None:
            del os.environ["AUTOPRUNE_TOKEN"]
    host = address if address not in ("0.0.0.0", "::") else _own_address()
    url = "/".join(part.strip("/") for part in (f"http://{_bracketed(host)}:{port}", url_prefix) if part)
    print(f"Open to other machines, unencrypted: {url}/?token={token}", flush=True)


def _own_address() -> str:
    addresses = (each for all_ in psutil.net_if_addrs().values() for each in all_ if each.family == socket.AF_INET)
    return next((each.address for each in addresses if not each.address.startswith("127.")), "127.0.0.1")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _awaited(original: Any) -> Any:
    """Wrap ``launcher._start_rest_server``: on a busy machine, NNI gives up on its own manager after three seconds."""

    @functools.wraps(original)
    def _start_rest_server(arguments: launcher.NniManagerArgs, run_mode: RunMode) -> Popen:
        manager = original(arguments, run_mode)
        end = time.monotonic() + START_LIMIT
        while manager.poll() is None and time.monotonic() < end:
            try:
                rest.get(arguments.port, "/check-status", arguments.url_prefix)
                return manager
            except OSError:  # of requests: it does not listen yet, or does not answer in JSON yet
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
        status = rest.get(experiment.port, "/check-status", experiment.url_prefix)
        if status["status"] == "ERROR":
            _exit_if_nnictl(_failure(status))
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


def _failure(status: dict[str, Any]) -> TunerFailed:
    return TunerFailed("the tuner failed: " + "; ".join(status["errors"]))


def _exit_if_nnictl(error: Exception) -> None:
    """Turn an error into one line and an exit status, where plain ``nnictl`` would print a long traceback."""
    if "nni.tools.nnictl.nnictl" in sys.modules:
        print(printable(f"autoprune: {error}"), file=sys.stderr, flush=True)
        raise SystemExit(2 if isinstance(error, UserError) else 1)


def _check(action: str, config: ExperimentConfig, port: int) -> None:
    remote = action != "view" and getattr(config.training_service, "platform", "hybrid") != "local"
    for needed in [port, port + 1] if remote else [port]:  # NNI keeps port + 1 for machines that call back
        check_port(needed)
    if action == "create":
        from autoprune.nni import preflight

        preflight.check(config)


def _wait_for_tuner(manager: Popen, port: int, url_prefix: str | None) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if manager.poll() is not None:
            raise TunerFailed("NNI's manager ended while the tuner started; see log/nnimanager.log")
        try:
            status = rest.get(port, "/check-status", url_prefix)
        except OSError:  # of requests: the manager is about to end
            time.sleep(0.1)
            continue
        if status["status"] == "ERROR":
            _end_manager(manager.pid, port, url_prefix)
            raise _failure(status)
        if status.get("tuner", "ready") == "ready":
            return
        time.sleep(0.1)


def _end_manager(pid: int, port: int, url_prefix: str | None, limit: float = 10) -> None:
    manager = psutil.Process(pid)
    family = [manager, *manager.children(recursive=True)]
    try:
        rest.delete(port, "/experiment", url_prefix)
    except OSError:  # requests' errors are among them: it does not answer
        manager.terminate()
    psutil.wait_procs([manager], timeout=limit)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # most have ended by now
            process.kill()
