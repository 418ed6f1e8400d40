"""Commands that run searches, and come back to those that run."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.app import Confidence, ExperimentId, Port, Rule, TaskName, Tie, Width, app, kinds_in, known_tasks
from autoprune.errors import UserError


def _configs(incomplete: str) -> list[str]:
    files = Path().glob(f"{glob.escape(incomplete)}*")
    return [f"{file}/" if file.is_dir() else str(file) for file in files] + known_tasks(incomplete)


def _asked(question: str, default: str = "") -> str:
    return typer.prompt(question, default, show_default=bool(default)).strip()


@app.command()
def init(
    task: Annotated[
        str | None,
        typer.Option(
            help="a built-in task, or FILE.py:NAME or MODULE:NAME of a task or of what builds a model",
            autocompletion=known_tasks,
        ),
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="write a task file to be filled in, and nothing else")
    ] = False,
    objectives: Annotated[
        str | None, typer.Option(help="comma-separated, such as accuracy,macs; by default the task's metric and macs")
    ] = None,
    shape: Annotated[str | None, typer.Option(help="of a model's example input, such as 1,3,32,32")] = None,
    trials: Annotated[int | None, typer.Option(min=1, max=10**9, help="at most")] = None,
    duration: Annotated[str, typer.Option(help="at most, such as 2h")] = "30m",
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder of the files")] = Path(),
    tie: Tie = None,
    width: Width = False,
) -> None:
    """Write a search's config, search space and, where needed, task file; in a terminal it asks for what it needs."""
    from autoprune.nni.new_search import Wanted, write_search, write_template
    from autoprune.report.terminal import side_console
    from autoprune.report.waiting import FINDING, waiting

    if task is None and not template:
        if not sys.stdin.isatty():
            raise UserError("name what is to be pruned with --task, such as --task digits, or use --template")
        task = _asked("A built-in task such as digits, FILE.py:NAME of your model, or nothing for a template")
        template = not task
        if ":" in task:
            shape = shape or _asked("If it is a model, the shape of an input", "1,3,224,224")
        if not template:
            objectives = objectives or _asked("What is searched for, or nothing for the task's metric and macs")
    if template:
        file = write_template(output)
        print(f"{file}\nFill in the lines marked FILL IN, then: autoprune init --task {file} -o {output}")
        return
    assert task is not None
    named = objectives.split(",") if objectives else None
    with waiting(side_console(), FINDING):
        wanted = Wanted(task, output, named, shape or "1,3,224,224", trials, duration, kinds_in(tie), width)
        files, ready = write_search(wanted)
    print(*files, sep="\n")
    first = "" if ready else f"fill in the line marked FILL IN in {files[1]}, then "
    print(f"Next: {first}autoprune run {files[0]}")


@app.command()
def run(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="an NNI config, or a task's name such as digits", autocompletion=_configs
        ),
    ],
    port: Port = 8080,
    choose: Rule = None,
    confidence: Confidence = 0.9,
    output: Annotated[Path, typer.Option("--output", "-o", help="where the results' folder goes")] = Path("outputs"),
    log: Annotated[str | None, typer.Option(help="tensorboard, mlflow or wandb, several with commas")] = None,
    budget: Annotated[
        str | None, typer.Option(help="the time for everything, such as 20m or 2h: the search plans with it")
    ] = None,
) -> None:
    """Run a search from start to end: check, train the dense model, search, choose, report and export.

    Of a task, it is the search that `autoprune init` would write.
    """
    from autoprune.nni.run import run as run_experiment

    sys.exit(run_experiment(config, port, choose, output, confidence, log, budget))


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
