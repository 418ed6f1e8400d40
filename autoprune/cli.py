"""The command line: it parses and calls."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from autoprune.base.places import check_file
from autoprune.base.printable import printable
from autoprune.errors import TrialFailure, UserError

app = typer.Typer(
    help="Search for the sparsity of every layer, and take home a really smaller model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="an NNI config, such as experiments/digits.yaml")]
ExperimentId = Annotated[str, typer.Argument(metavar="ID", help="an experiment's id, or latest")]
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="a built-in task, FILE.py[:NAME] or MODULE:NAME")]
Rule = Annotated[
    str | None, typer.Option(help="drop<=1%, accuracy>=0.98, knee, macs<=20M, latency<=5ms, or a trial's id")
]
Objectives = Annotated[
    str | None, typer.Option(help="comma-separated, such as accuracy,params; the config's if unsaid")
]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="of NNI's web UI, on 127.0.0.1")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of the runtimes, at most the machine's cores")]


def _picture(file: Path | None) -> Path | None:
    if file is not None:
        from autoprune.report.picture import check_picture

        check_picture(file)
    return file


def _file(file: Path | None) -> Path | None:
    if file is not None:
        check_file(file)
    return file


PictureFile = Annotated[
    Path | None, typer.Option(callback=_picture, help="draws it to a .png, .pdf or .svg file as well")
]

UsageError = typer.BadParameter.__base__  # click's own, or that of typer's copy of click
assert UsageError is not None


def main() -> None:
    """Run the command line; bad input is one line and exit status 2, a network that cannot be judged one and 1."""
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()  # now, while a reader that went away can be handled
    except (UserError, UsageError, TrialFailure) as error:
        print(printable(f"autoprune: {_line(error)}"), file=sys.stderr)
        status = 1 if isinstance(error, TrialFailure) else 2
    except typer.Abort:
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the exit
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _line(error: Exception) -> str:
    return " ".join(error.format_message().split()) if isinstance(error, UsageError) else str(error)


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
def pareto(
    experiment_id: ExperimentId = "latest",
    objectives: Objectives = None,
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="how it is printed")] = "table",
    plot: PictureFile = None,
) -> None:
    """Print an experiment's Pareto front, beside the dense model and the baselines."""
    from autoprune.nni.show import show_front

    show_front(experiment_id, objectives, form, plot)


@app.command()
def export(
    experiment_id: ExperimentId = "latest",
    choose: Rule = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="pt2, onnx or state_dict, several with commas; all if unsaid")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a folder, or one file")] = None,
    recovery_steps: Annotated[
        int | None, typer.Option(help="fine-tune the model for so many steps before; 0 for none")
    ] = None,
    quantize: Annotated[
        Literal["int8"] | None, typer.Option(help="write an ONNX file of eight-bit integers as well")
    ] = None,
    qat_steps: Annotated[int, typer.Option(help="steps of quantisation-aware fine-tuning for it")] = 0,
    threads: Threads = 1,
) -> None:
    """Export a model of an experiment, each file loaded back by its own runtime and compared with the model."""
    from autoprune.export import formats_for
    from autoprune.finalize.finish import Options, finish
    from autoprune.nni.database import open_experiment
    from autoprune.report.exported import exported_table, show

    experiment = open_experiment(experiment_id)
    place = output or Path("outputs") / f"{experiment.name}-{experiment.id}"
    options = Options(
        formats_for(formats, place), recovery_steps, threads, int8=quantize == "int8", qat_steps=qat_steps
    )
    final = finish(experiment, choose, place, options)
    chosen = printable(f"trial {final.chosen.id}, chosen by {final.reason}")
    print(f"{chosen}: test accuracy {final.test_accuracy:.4f}")
    if final.recovery:
        more = final.recovery
        print(f"validation accuracy {more.before:.4f}, after {more.steps} more steps {more.after:.4f}")
    if final.quantized:
        print(f"eight-bit integers: {final.quantized.method}")
    show(exported_table(final))
    for file in [*final.files.values(), *final.cards]:
        print(f"  {file}")


@app.command()
def latency(
    experiment_id: ExperimentId = "latest",
    choose: Rule = None,
    runtime: Annotated[str, typer.Option(help="eager, compile or onnxruntime, several with commas")] = "eager",
    batch_sizes: Annotated[str, typer.Option(help="examples per pass, several with commas")] = "1,32",
    threads: Threads = 1,
    runs: Annotated[int, typer.Option(min=1, max=10**6, help="timed passes")] = 100,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=_file, help="a JSON file for the figures")
    ] = None,
) -> None:
    """Time a model of an experiment and the dense one in turn, in the runtimes and at the batch sizes named."""
    import json

    from autoprune.base.files import write_text
    from autoprune.export import load_pruned
    from autoprune.finalize.finish import choose_trial, load
    from autoprune.measure import latency
    from autoprune.nni.database import open_experiment
    from autoprune.report.exported import latency_table, show

    runtimes, sizes = runtime.split(","), latency.parse_sizes(batch_sizes)
    for name in runtimes:
        for size in sizes:
            latency.check(name, size, threads)
    experiment = open_experiment(experiment_id)
    chosen, reason = choose_trial(experiment, choose)
    task, _, dense = load(experiment)
    pair = (dense.model, load_pruned(task, chosen.model_file).to(dense.device))
    found = [latency.compare(*pair, task.example_input, name, b, threads, runs) for name in runtimes for b in sizes]
    print(printable(f"trial {chosen.id}, chosen by {reason}"))
    show(latency_table(found))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, json.dumps([each.to_dict() for each in found], indent=2) + "\n")


@app.command()
def report(
    experiment_id: ExperimentId = "latest",
    output: Annotated[Path, typer.Option("--output", "-o", callback=_file, help="the page")] = Path("report.html"),
) -> None:
    """Write an experiment's report, one page that needs nothing else."""
    from autoprune.nni.database import open_experiment
    from autoprune.report.page import write_report

    print(write_report(open_experiment(experiment_id), None, output))


@app.command()
def space(
    task: TaskName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=_file, help="search_spaces/TASK.yaml if unsaid")
    ] = None,
    with_blocks: Annotated[bool, typer.Option("--blocks", help="whole residual blocks may be dropped as well")] = False,
) -> None:
    """Write a task's search space, in NNI's format, from the coupled groups of its model."""
    from autoprune.base.files import write_text
    from autoprune.measure import measure
    from autoprune.prune.blocks import find_blocks
    from autoprune.prune.find import find_groups
    from autoprune.search.space import build_space, space_to_yaml
    from autoprune.task.find import load_task

    found = load_task(task)
    model = found.build()
    groups = find_groups(model, found.example_input, found.keep)
    if not len(groups):
        raise UserError(f"task {task}: its model has no channels that can be removed: see `autoprune groups {task}`")
    totals = measure.measure(model, found.example_input, with_latency=False)
    blocks = find_blocks(model, found.example_input, found.keep) if with_blocks else ()
    search_space = build_space(groups, blocks=blocks)
    output = output or Path("search_spaces") / f"{found.name}.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, space_to_yaml(search_space, task, groups, totals, blocks))
    print(f"{output}: {len(groups)} coupled groups" + (f", {len(blocks)} residual blocks" if with_blocks else ""))


@app.command()
def groups(
    task: Annotated[
        str, typer.Argument(metavar="TASK_OR_MODEL", help="a task, or MODULE:FUNCTION that builds a model")
    ],
    shape: Annotated[str, typer.Option(help="of a model's example input; a task has its own")] = "1,3,224,224",
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="also the accuracy a task loses without half of each group")
    ] = False,
) -> None:
    """Print the coupled channel groups of a model: which layers lose the same channels together."""
    from autoprune.measure import measure
    from autoprune.prune.find import find_groups
    from autoprune.report.groups import groups_table, left_alone_lines
    from autoprune.report.terminal import Console
    from autoprune.task.find import load_task_or_model
    from autoprune.task.task import Task
    from autoprune.trial.sensitivity import task_sensitivities

    found, example_input = load_task_or_model(task, shape)
    own = isinstance(found, Task)
    if sensitivity and not own:
        raise UserError(f"{task} is a model without data: --sensitivity needs a task, see docs/tasks.md")
    model, keep = (found.build(), found.keep) if own else (found, ())
    coupled = find_groups(model, example_input, keep)
    totals = measure.measure(model, example_input, with_latency=False)
    lost = task_sensitivities(found) if sensitivity else None
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(groups_table(coupled, totals["params"], totals["macs"], lost))
    for line in left_alone_lines(coupled):
        console.print(line)


@app.command()
def sensitivity(
    task: TaskName,
    criterion: Annotated[str, typer.Option(help="which channels go")] = "l1_norm",
    shared: Annotated[bool, typer.Option("--shared", help="on the weights of the shared recovery")] = False,
    plot: PictureFile = None,
) -> None:
    """Print what a task's network loses without a part of each group alone, nothing fine-tuned."""
    from autoprune.report.sensitivity import draw_sensitivity, sensitivity_table
    from autoprune.report.terminal import Console
    from autoprune.trial.sensitivity import task_curves

    curves = task_curves(task, criterion, shared)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(sensitivity_table(curves))
    if plot:
        draw_sensitivity(curves, plot)
        print(plot)


@app.command()
def recipe(
    task: TaskName,
    trials: Annotated[int, typer.Option(min=1, max=10**9, help="how many recipes are tried")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
) -> None:
    """Search a task's recovery recipe: the learning rate, its schedule, the distillation's weight and temperature."""
    from rich.table import Table

    from autoprune.prune import dense
    from autoprune.report.terminal import Console
    from autoprune.task.find import load_task
    from autoprune.trial.recipe_search import SEARCHED, search_recipe

    found = load_task(task)
    data = found.splits()
    tried = search_recipe(found, data, dense.prepare(found, data, seed=seed), trials, seed)
    table = Table(*SEARCHED, found.metric.noun)
    for each in tried:
        table.add_row(
            *(f"{v:.4g}" if isinstance(v, float) else v for v in each.recipe.values()),
            "diverged" if each.quality is None else f"{each.quality:.4f}",
        )
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)
    print(f"The best first. Put it into the task, or add --recipe-trials {trials} to the config's trialCommand.")


@app.command()
def watch(experiment_id: ExperimentId = "latest") -> None:
    """Come back to a running experiment; of one that has ended, print the front."""
    from autoprune.nni.manage import watch as watch_experiment

    sys.exit(watch_experiment(experiment_id))


@app.command("list")
def list_() -> None:
    """List the experiments of this machine, and how each of them really is."""
    from autoprune.nni.manage import console, list_experiments

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


@app.command()
def compare(
    experiment_ids: Annotated[list[str], typer.Argument(metavar="ID ID...", help="experiments' ids")],
    plot: PictureFile = None,
) -> None:
    """Lay searches side by side: accuracies at equal MACs, hypervolume, trials, time."""
    from autoprune.nni.show import show_comparison

    show_comparison(experiment_ids, plot)
