"""Commands that look at a task before a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprune.base.printable import printable
from autoprune.cli.app import Device, PictureFile, Port, TaskName, Tie, Width, app, checked_file, kinds_in
from autoprune.errors import UserError


@app.command()
def space(
    task: TaskName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=checked_file, help="search_spaces/TASK.yaml by default")
    ] = None,
    with_blocks: Annotated[bool, typer.Option("--blocks", help="whole residual blocks may be dropped as well")] = False,
    tie: Tie = None,
    width: Width = False,
) -> None:
    """Write a task's search space, in NNI's format, from the coupled groups of its model."""
    from autoprune.base.files import write_text
    from autoprune.report.terminal import side_console
    from autoprune.report.waiting import FINDING, waiting
    from autoprune.task.find import load_task
    from autoprune.trial.space import space_of

    found = load_task(task)
    with waiting(side_console(), FINDING):
        written = space_of(task, found, found.example, with_blocks, kinds_in(tie), width)
    output = output or Path("search_spaces") / f"{found.name}.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, written.text)
    print(f"{output}: {written.groups} coupled groups" + (f", {written.blocks} residual blocks" if with_blocks else ""))
    if width:
        print("Channels under norms are in it: add --width to the trialCommand of its config.")


@app.command()
def groups(
    task: Annotated[
        str,
        typer.Argument(metavar="TASK_OR_MODEL", help="a task, MODULE:FUNCTION that builds a model, or timm:MODEL"),
    ],
    shape: Annotated[
        str | None,
        typer.Option(help="of a model's example input, 1,3,224,224 or what timm says of its own"),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="also the accuracy a task loses without half of each group")
    ] = False,
    width: Width = False,
) -> None:
    """Print the coupled channel groups of a model: which layers lose the same channels together."""
    from autoprune.measure import measure
    from autoprune.prune.find import find_groups
    from autoprune.report.groups import groups_table, inexact_lines, left_alone_lines
    from autoprune.report.terminal import show, side_console
    from autoprune.report.waiting import FINDING, waiting
    from autoprune.task.find import load_task_or_model
    from autoprune.task.task import Task
    from autoprune.trial.sensitivity import task_sensitivities

    found, example_input = load_task_or_model(task, shape)
    if isinstance(found, Task):
        model, keep = found.build(), found.keep
        with waiting(side_console(), "Probing each group"):
            lost = task_sensitivities(found, width=width) if sensitivity else None
    elif sensitivity:
        raise UserError(f"{task} is a model without data: --sensitivity needs a task, see docs/tasks.md")
    else:
        model, keep, lost = found, (), None
    with waiting(side_console(), FINDING):
        coupled = find_groups(model, example_input, keep, allow_inexact=width)
        totals = measure.measure(model, example_input, with_latency=False)
    table = groups_table(coupled, int(totals["params"]), int(totals["macs"]), lost)
    show(table, *inexact_lines(coupled), *left_alone_lines(coupled))


@app.command()
def sensitivity(
    task: TaskName,
    criterion: Annotated[str, typer.Option(help="which channels go")] = "l1_norm",
    supernet: Annotated[bool, typer.Option("--supernet", "--shared", help="on the supernet's weights")] = False,
    plot: PictureFile = None,
    device: Device = "cpu",
) -> None:
    """Print what a task's network loses without a part of each group alone, nothing fine-tuned."""
    from autoprune.base.device import resolve
    from autoprune.report.sensitivity import draw_sensitivity, sensitivity_table, whose
    from autoprune.report.terminal import show, side_console
    from autoprune.report.waiting import waiting
    from autoprune.trial.sensitivity import task_curves

    where = resolve(device)
    with waiting(side_console(), "Probing each group"):
        curves = task_curves(task, criterion, supernet, where)
    show(sensitivity_table(curves))
    if plot:
        draw_sensitivity(curves, plot, title=f"Sensitivity of the {whose('supernet' if supernet else '')}")
        print(plot)


@app.command()
def recipe(
    task: TaskName,
    trials: Annotated[int, typer.Option(min=1, max=10**9, help="how many recipes are tried")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    device: Device = "cpu",
) -> None:
    """Search a task's recovery recipe: the learning rate, its schedule, the distillation's weight and temperature."""
    from autoprune.base.device import resolve
    from autoprune.base.tables import Table
    from autoprune.prune import dense
    from autoprune.report.terminal import show, side_console
    from autoprune.report.waiting import waiting
    from autoprune.task.find import load_task
    from autoprune.trial.recipe_search import SEARCHED, search_recipe

    found, where = load_task(task), resolve(device)
    data = found.splits()
    with waiting(side_console(), "Searching a recipe"):
        tried = search_recipe(found, data, dense.load_or_train(found, data, seed=seed, device=where), trials, seed)
    table = Table(*SEARCHED, found.metric.noun)
    for each in tried:
        table.add_row(
            *(f"{v:.4g}" if isinstance(v, float) else v for v in each.recipe.values()),
            "diverged" if each.quality is None else found.metric.write(each.quality),
        )
    show(table)
    print(f"The best first. Put it into the task, or add --recipe-trials {trials} to the config's trialCommand.")


@app.command()
def doctor(
    port: Port = 8080,
    mend: Annotated[
        bool, typer.Option("--mend", help="register NNI's bridge, so that plain nnictl has it too")
    ] = False,
) -> None:
    """Look at what a search needs of this machine, and say what is wrong and how to mend it; exit status 1 if so."""
    from autoprune.base.tables import listed
    from autoprune.nni.doctor import examine
    from autoprune.report.terminal import side_console
    from autoprune.report.waiting import waiting

    if mend:
        from autoprune.nni import bridge

        bridge.register()
    with waiting(side_console(), "Looking at this machine, and how large its folders are"):
        found = list(examine(port))
    print(*listed({each.what: each.found for each in found}), sep="\n")
    wrong = [each for each in found if each.wrong]
    print(f"\n{len(wrong)} wrong:" if wrong else "\nNothing is wrong.")
    for each in wrong:
        print(printable(f"  {each.what}: {each.wrong}\n    mend it: {each.mend}"))
    raise typer.Exit(1 if wrong else 0)
