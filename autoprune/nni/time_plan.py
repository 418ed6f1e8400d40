"""How long a search will take, said before it starts; and a search that is planned for the time it is given."""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import chdir
from typing import TYPE_CHECKING

from autoprune.errors import UserError
from autoprune.report.terminal import Console
from autoprune.report.waiting import waiting
from autoprune.results.experiment import read_duration
from autoprune.results.settings import TrialCommand

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

    from autoprune.nni.preflight import Checked
    from autoprune.trial.estimate import Costs


def say_how_long(terminal: Console, config: ExperimentConfig, checked: Checked, budget: str | None) -> None:
    """Print how long everything will take, from a few timed steps, and warn if the config does not allow as much.

    Args:
        config: with a budget it is changed, in place, to what is planned: its trials, its duration, and how long the
            supernet and the candidates of the last rung are trained.
        budget: the time for everything, such as ``20m``; None for as long as the config says.

    Raises:
        UserError: the budget is no duration, or too short; or nothing is known of how long the task's training takes.
    """
    costs = _costs(terminal, config, checked)
    if budget is not None:
        if costs is None:
            raise UserError("--budget: the task has a fit of its own, and nobody can say how long it takes")
        _plan(terminal, config, costs, read_duration(budget))
    elif costs is not None:
        trials, limit = config.max_trial_number, config.max_experiment_duration
        found = costs.of(trials or 0, _at_once(config, costs))
        terminal.print(
            f"{'It will take' if trials else 'Before the candidates it will take'} {found.words}.", markup=False
        )
        if warning := found.warning(read_duration(limit) if limit else None):
            print(f"autoprune: {warning}", file=sys.stderr)


def _costs(terminal: Console, config: ExperimentConfig, checked: Checked) -> Costs | None:
    from autoprune.base.device import resolve
    from autoprune.measure import latency
    from autoprune.trial.estimate import time_steps

    settings, task = _settings(config), checked.task
    with waiting(terminal, "Timing a few steps"), chdir(config.trial_code_directory), latency.pinned(1):
        device = resolve(settings.device)
        return time_steps(settings, task, task.splits(), checked.groups, config.search_space, device)


def _plan(terminal: Console, config: ExperimentConfig, costs: Costs, seconds: float) -> None:
    from autoprune.search import OptunaTuner
    from autoprune.trial.plan import plan

    found = plan(costs, seconds, _at_once(config, costs))
    config.max_trial_number = None
    config.max_experiment_duration = f"{round(found.search)}s"
    said = [f"some {found.trials} trials"]
    if found.supernet_steps is not None and costs.settings.supernet_steps is None and costs.supernet_steps:
        config.trial_command = f"{config.trial_command} --supernet-steps {found.supernet_steps}"
        said.append(f"{found.supernet_steps} steps for the supernet")
    name = config.tuner.class_name or ""
    if name.endswith(OptunaTuner.__name__) and "recoveries" in inspect.signature(OptunaTuner).parameters:
        config.tuner.class_args = (config.tuner.class_args or {}) | {"recoveries": found.recoveries}
        said.append(f"{found.recoveries:g} recoveries for those that are trained in full")
    terminal.print(f"Planned: {', '.join(said)}. It will take {found.estimate.words}.", markup=False)


def _settings(config: ExperimentConfig) -> TrialCommand:
    settings = TrialCommand.parse(str(config.trial_command))
    assert settings is not None  # it was checked
    return settings


def _at_once(config: ExperimentConfig, costs: Costs) -> int:
    on_cpu = costs.settings.device.startswith(("cpu", "auto"))
    return min(config.trial_concurrency, max(1, os.cpu_count() or 1) if on_cpu else 1)
