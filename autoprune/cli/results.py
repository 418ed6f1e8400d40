"""Commands that show what searches found, and take it home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autoprune.base.printable import printable
from autoprune.cli.app import Confidence, ExperimentId, Objectives, PictureFile, Rule, Threads, app, checked_file


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
def compare(
    experiment_ids: Annotated[list[str], typer.Argument(metavar="ID ID...", help="experiments' ids")],
    plot: PictureFile = None,
) -> None:
    """Lay searches side by side: accuracies at equal MACs, hypervolume, trials, time."""
    from autoprune.nni.show import show_comparison

    show_comparison(experiment_ids, plot)


@app.command()
def report(
    experiment_id: ExperimentId = "latest",
    output: Annotated[Path, typer.Option("--output", "-o", callback=checked_file, help="the page")] = Path(
        "report.html"
    ),
) -> None:
    """Write an experiment's report, one page that needs nothing else."""
    from autoprune.nni.database import open_experiment
    from autoprune.report.page import write_report

    print(write_report(open_experiment(experiment_id), None, output))


@app.command()
def export(
    experiment_id: ExperimentId = "latest",
    choose: Rule = None,
    confidence: Confidence = 0.9,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="pt2, onnx, state_dict, openvino or transformers, several with commas; by default the first three",
        ),
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
    from autoprune.report.exported import exported_table, outcome
    from autoprune.report.terminal import show, side_console
    from autoprune.report.waiting import waiting

    experiment = open_experiment(experiment_id)
    place = output or Path("outputs") / f"{experiment.name}-{experiment.id}"
    options = Options(
        formats_for(formats, place),
        recovery_steps,
        threads,
        int8=quantize == "int8",
        qat_steps=qat_steps,
        confidence=confidence,
    )
    with waiting(side_console(), "Exporting"):
        final = finish(experiment, choose, place, options)
    for line in outcome(final):
        print(printable(line))
    show(exported_table(final))
    for file in [*final.files.values(), *final.cards]:
        print(f"  {file}")


@app.command()
def latency(
    experiment_id: ExperimentId = "latest",
    choose: Rule = None,
    runtime: Annotated[
        str, typer.Option(help="eager, compile, onnxruntime or openvino, several with commas")
    ] = "eager",
    batch_sizes: Annotated[str, typer.Option(help="examples per pass, several with commas")] = "1,32",
    threads: Threads = 1,
    runs: Annotated[int, typer.Option(min=1, max=10**6, help="timed passes")] = 100,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=checked_file, help="a JSON file for the figures")
    ] = None,
) -> None:
    """Time a model of an experiment and the dense one in turn, in the runtimes and at the batch sizes named."""
    import json

    from autoprune.base.files import write_text
    from autoprune.export import load_pruned
    from autoprune.finalize.choice import choose_trial
    from autoprune.finalize.finish import load
    from autoprune.measure import latency
    from autoprune.nni.database import open_experiment
    from autoprune.report.exported import latency_table
    from autoprune.report.terminal import show

    runtimes, sizes = runtime.split(","), latency.parse_sizes(batch_sizes)
    for name in runtimes:
        for size in sizes:
            latency.check(name, size, threads)
    experiment = open_experiment(experiment_id)
    chosen, reason = choose_trial(experiment, choose)
    task, _, dense = load(experiment)
    pair = (dense.model, load_pruned(task, chosen.model_file).to(dense.device))
    found = [latency.compare(*pair, task.example, name, b, threads, runs) for name in runtimes for b in sizes]
    print(printable(f"trial {chosen.id}, chosen by {reason}"))
    show(latency_table(found))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, json.dumps([each.to_dict() for each in found], indent=2) + "\n")


@app.command()
def bench(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".onnx, .pt2 and OpenVINO's .xml files, timed in turn")
    ],
    batch_sizes: Annotated[str, typer.Option(help="examples per pass, several with commas")] = "1",
    threads: Threads = 1,
    runs: Annotated[int, typer.Option(min=1, max=10**6, help="timed passes")] = 100,
    shape: Annotated[str | None, typer.Option(help="of one example, where a file leaves it open")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=checked_file, help="a JSON file: figures and machine")
    ] = None,
) -> None:
    """Time model files as they are, beside what their cards say; of any exporter, on any machine."""
    import json

    from autoprune.base.files import write_text
    from autoprune.measure import bench as measure
    from autoprune.measure import latency
    from autoprune.report.exported import bench_table
    from autoprune.report.terminal import show

    sizes, one = latency.parse_sizes(batch_sizes), latency.parse_sizes(shape) if shape else None
    found = measure.bench(files, sizes, threads, runs, one)
    show(bench_table(found))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, json.dumps(measure.to_dict(found, one), indent=2) + "\n")
        print(output)
