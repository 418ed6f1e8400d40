"""``autoprune run``: a whole search, watched in the terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import chdir
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from autoprune.errors import UserError
from autoprune.experiment import preflight
from autoprune.experiment.results import Experiment, load_experiment
from autoprune.experiment.watch import Progress as Snapshot
from autoprune.experiment.watch import follow
from autoprune.search.command import TrialCommand


def run(config_file: Path, port: int, rule: str | None, output: Path) -> int:
    """Check a config, train the dense model, run the search, and take the chosen model home.

    Args:
        rule: how to choose, see :func:`autoprune.experiment.finish.choose_trial`.
        output: the folder in which the results' folder is made.

    Returns:
        The exit status: 0, 1 if the search failed, 130 if it was interrupted.

    Raises:
        UserError: bad input; nothing was started.
    """
    terminal = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    started = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from autoprune.experiment import bridge

    logging.getLogger("nni").setLevel(logging.ERROR)
    bridge.register()
    config = preflight.load_config(config_file)
    settings = TrialCommand.parse(str(config.trial_command))
    if settings is None:
        raise UserError(f"{config_file}: trialCommand must be `autoprune trial TASK`, not {config.trial_command!r}")
    bridge.check_port(port)
    preflight.check(config)
    _prepare_dense(terminal, settings, config.trial_code_directory)

    experiment_id = bridge.start(config, port)
    folder = Path(config.experiment_working_directory or "~/nni-experiments").expanduser() / experiment_id
    terminal.print(f"Experiment [bold]{experiment_id}[/] runs; NNI's web UI: [link]http://127.0.0.1:{port}[/]\n")
    try:
        last = _watch(terminal, folder, port)
    except KeyboardInterrupt:
        bridge.stop(experiment_id)
        terminal.print(
            f"\nStopped. Go on with `nnictl resume {experiment_id}`; see `autoprune pareto {experiment_id}`."
        )
        return 130
    bridge.stop(experiment_id)
    if last.status in ("ERROR", "GONE"):
        reason = "; ".join(last.errors) or f"NNI's manager is gone: see {folder / 'log'}"
        print(f"autoprune: the search failed: {reason}", file=sys.stderr)
        return 1
    return _take_home(terminal, load_experiment(folder), rule, output, port, started)


def _prepare_dense(terminal: Console, settings: TrialCommand, code: str | Path) -> None:
    from autoprune.experiment.setup import load_settings

    start = time.monotonic()
    with terminal.status("Training the dense model, or taking it from the cache ..."), chdir(code):
        import torch

        torch.set_num_threads(1)
        task, _, dense = load_settings(settings)
    m = dense.measures
    terminal.print(
        f"Dense model of [bold]{task.name}[/]: validation accuracy {m['accuracy']:.4f}, {m['params']:,} parameters, "
        f"{m['macs']:,} MACs ({time.monotonic() - start:.1f} s)"
    )


def _watch(terminal: Console, folder: Path, port: int) -> Snapshot:
    if not terminal.is_terminal:
        said = -1.0

        def say(now: Snapshot) -> None:
            nonlocal said
            if now.over or now.elapsed >= said + 10:
                said = now.elapsed
                terminal.print(_one_line(now))

        return follow(folder, port, say)
    with Live(console=terminal, refresh_per_second=2) as live:
        return follow(folder, port, lambda now: live.update(_picture(now)))


def _one_line(now: Snapshot) -> str:
    left = f", about {now.seconds_left:.0f} s left" if now.seconds_left is not None and not now.over else ""
    best = " ".join(f"{t.metrics['accuracy']:.3f}@{t.metrics['macs'] / 1e6:.3g}M" for t in now.experiment.front()[:6])
    return (
        f"{now.elapsed:4.0f} s: {now.ended} of {now.total} trials done, {now.failed} failed{left}; front: {best or '-'}"
    )


def _picture(now: Snapshot) -> Group:
    left = f"{now.seconds_left:.0f} s left" if now.seconds_left is not None else "..."
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} trials")
    )
    bar.add_task(f"{now.elapsed:.0f} s, {left}, {now.failed} failed", total=now.total or 1, completed=now.ended)
    return Group(bar, _live_front(now.experiment), *_failures(now.experiment))


def _live_front(experiment: Experiment) -> Table:
    table = Table("trial", "accuracy", "parameters", "MACs", "criterion", "schedule", title="Pareto front so far")
    for trial in experiment.front()[:12]:
        m, p = trial.metrics, trial.parameters
        sizes = (f"{m['params']:,}", f"{m['macs']:,}")
        table.add_row(trial.id, f"{m['accuracy']:.4f}", *sizes, p.get("criterion"), p.get("schedule"))
    return table


def _failures(experiment: Experiment) -> list[str]:
    return [f"[red]failed[/]: trial {trial.id}: {trial.reason}" for trial in experiment.failed[-3:]]


def _take_home(
    terminal: Console, experiment: Experiment, rule: str | None, output: Path, port: int, started: float
) -> int:
    if not experiment.candidates:
        for line in _failures(experiment):
            terminal.print(line)
        print(f"autoprune: no trial of experiment {experiment.id} succeeded", file=sys.stderr)
        return 1
    from autoprune.experiment.finish import finish
    from autoprune.report.page import write_report
    from autoprune.report.table import front_table

    folder = output / f"{experiment.name}-{experiment.id}"
    with terminal.status("Measuring, testing and exporting the chosen model ..."):
        final = finish(experiment, rule, folder)
        page = write_report(experiment, final, folder / "report.html")
    terminal.print(front_table(experiment, final))
    terminal.print(
        f"\nChosen: trial [bold]{final.chosen.id}[/] ({final.reason}). On the test split: {final.test_accuracy:.4f}, "
        f"dense {final.dense_test_accuracy:.4f}."
    )
    terminal.print(
        f"{len(experiment.trials)} trials, {len(experiment.failed)} failed, {time.monotonic() - started:.0f} s."
    )
    terminal.print(f"\n  report     {page}  (open it in a browser)")
    for name, file in final.files.items():
        terminal.print(f"  {name:<10} {file}  (loaded back: same outputs)")
    terminal.print(f"  front      {folder / 'front.csv'}\n  trials     {experiment.folder}\n\nNext:")
    if os.environ.get("VIRTUAL_ENV") != sys.prefix:
        terminal.print(f"  . {Path(sys.prefix) / 'bin' / 'activate'}")
    for command in (
        f"nnictl view {experiment.id} --port {port}        # NNI's web UI, on the finished search",
        f"autoprune pareto {experiment.id}                 # this table again",
        f"autoprune export {experiment.id} --choose knee   # another model of the front",
    ):
        terminal.print(f"  {command}")
    return 0
