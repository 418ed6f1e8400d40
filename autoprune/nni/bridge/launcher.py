"""Starting, resuming and stopping experiments by NNI's launcher."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
from nni.experiment import Experiment, RunMode, launcher
from nni.experiment.config import ExperimentConfig
from nni.experiment.config.utils import parse_time
from nni.tools.nnictl.config_utils import Experiments

from autoprune.nni import client
from autoprune.nni.bridge.manager import START_LIMIT, end_manager
from autoprune.nni.bridge.patches import install_patches, trusting


def start(config: ExperimentConfig, port: int, url_prefix: str | None = None, checked: bool = False) -> str:
    """Start an experiment whose manager outlives this process, and wait until its tuner is up.

    Args:
        config: NNI's config.
        port: where the web UI and the API are served, on 127.0.0.1.
        url_prefix: a path under which they are served.
        checked: whether :func:`autoprune.nni.preflight.check_and_complete` has had the config.

    Returns:
        The experiment's id.

    Raises:
        UserError: the config is wrong, or the port is in use. Nothing was started.
        TunerFailed: the tuner could not be started. Everything was stopped.
    """
    install_patches()
    experiment = Experiment(config)
    experiment.url_prefix = url_prefix
    with trusting(checked):
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
    install_patches()
    config = launcher.get_stopped_experiment_config(experiment_id, directory)
    experiment = Experiment(config, experiment_id)
    experiment._action = "resume"
    experiment.start(port, run_mode=RunMode.Detach)
    limit = config.canonical_copy().max_experiment_duration
    allowed = seconds or (parse_time(limit) if trials is not None and limit else None)
    if allowed is not None:
        spent = client.get(port, "experiment")["execDuration"]
        changed = {"params": {"maxExperimentDuration": f"{round(spent + allowed)}s"}}
        client.put(port, "experiment?update_type=MAX_EXEC_DURATION", changed)
    if trials is not None:
        client.put(port, "experiment?update_type=MAX_TRIAL_NUM", {"params": {"maxTrialNumber": trials}})
    if allowed is not None or trials is not None:
        end = time.monotonic() + START_LIMIT
        while client.get(port, "check-status")["status"] == "DONE" and time.monotonic() < end:
            time.sleep(0.1)


def stop(experiment_id: str, limit: float = 30) -> None:
    """Stop an experiment's manager, tuner and trials, by force after ``limit`` seconds. Stopped ones stay stopped."""
    experiment = Experiments().get_all_experiments().get(experiment_id, {})
    with contextlib.suppress(psutil.NoSuchProcess):
        # Its command line tells whether the noted process is still the manager, or a later one of the same number.
        if experiment.get("pid") and experiment_id in psutil.Process(experiment["pid"]).cmdline():
            end_manager(experiment["pid"], experiment["port"], experiment.get("prefixUrl"), limit)
