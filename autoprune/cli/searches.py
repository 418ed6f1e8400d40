"""Commands that run searches, and come back to those that run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.app import ConfigFile, ExperimentId, Port, Rule, TaskName, app


@app.command()
def run(
    config: ConfigFile,
    port: Port = 8080,
    choose: Rule = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="where the results' folder goes")] = Path("outputs"),
) -> None:
    """Run a search from start to end: check, train the dense model, search, choose, report and export."""
    from autoprune.nni.run import run as run_experiment

    sys.exit(run_experiment(config, port, choose, output))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def trial(context: typer.Context, task: TaskName) -> None:
    """Run one trial. NNI starts this: it is the trialCommand of a config, whose options docs/config.md lists."""
    from autoprune.nni.trial_process import main as run_trial

    sys.exit(run_trial([task, *context.args]))


@app.command()
def watch(experiment_id: ExperimentId = "latest") -> None:
    """Come back to a running experiment; of one that has ended, print the front."""
    from autoprune.nni.manage import watch as watch_experiment

    sys.exit(watch_experiment(experiment_id))


@app.command("list")
def list_() -> None:
    """List the experiments of this machine, and how each of them really is."""
    from autoprune.nni.manage import list_experiments
    from autoprune.report.terminal import console

    console().print(list_experiments(), soft_wrap=True)  # a path stays in one piece


@app.command()
def stop(experiment_id: ExperimentId) -> None:
    """Stop an experiment: its manager, its tuner and its trials."""
    from autoprune.nni.manage import stop as stop_experiment

    sys.exit(stop_experiment(experiment_id))


@app.command()
def resume(
    experiment_id: ExperimentId,
    port: Port = 8080,
    trials: Annotated[int, typer.Option(min=0, max=10**9, help="more than the config allows")] = 0,
    duration: Annotated[str | None, typer.Option(help="the time allowed from now on, such as 30m")] = None,
) -> None:
    """Go on with an experiment that was stopped or died, and watch it."""
    from autoprune.nni.manage import resume as resume_experiment

    sys.exit(resume_experiment(experiment_id, port, trials, duration))
