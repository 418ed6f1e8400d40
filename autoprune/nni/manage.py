"""``autoprune watch``, ``list``, ``stop`` and ``resume``: experiments that run already, or ran."""

from __future__ import annotations

import logging
import sys
from datetime import datetime

from rich.console import Group
from rich.text import Text

from autoprune.base.tables import Table
from autoprune.errors import UserError
from autoprune.nni import live
from autoprune.nni.database import load_experiment
from autoprune.nni.registry import KnownExperiment, known_experiment, known_experiments
from autoprune.nni.signals import Signalled, signals_raise
from autoprune.nni.watch import Progress
from autoprune.report.table import front_table
from autoprune.report.terminal import Console, console
from autoprune.results.experiment import read_duration


def watch(experiment_id: str) -> int:
    """Come back to an experiment: the live view while it runs, then its front.

    Returns:
        The exit status: 0, 1 if the search failed, 130 if it was stopped by Ctrl-C.
    """
    known, terminal = known_experiment(experiment_id), console()
    if known.alive and known.status != "viewed":
        page = f"{known.url}/pareto/"
        terminal.print(f"Experiment [bold]{known.id}[/]: NNI's web UI at [link]{known.url}[/], its front at {page}\n")
        return _watch_to_the_end(terminal, known, stop_at_end=False)
    return _show_the_end(terminal, known)


def stop(experiment_id: str) -> int:
    """Stop an experiment's manager, tuner and trials; also what a manager that died left behind."""
    known = known_experiment(experiment_id)
    was = known.status
    from autoprune.nni import bridge

    bridge.stop(known.id)
    left = bridge.end_orphans(known.id)
    if known.alive:
        print(f"Stopped {known.id}. Go on with `autoprune resume {known.id}`.")
    else:
        behind = f"; ended {left} process{'es' if left > 1 else ''} that it left behind" if left else ""
        print(f"Experiment {known.id} does not run ({was}){behind}.")
    return 0


def resume(experiment_id: str, port: int, more: int = 0, duration: str | None = None) -> int:
    """Go on with an experiment that was stopped or died, and watch it.

    Args:
        port: of NNI's web UI.
        more: trials beyond those that the config allows.
        duration: the time allowed from now on, such as ``30m``.

    Raises:
        UserError: it runs, has nothing left to do, or the port is in use. Nothing was started.
    """
    known, terminal = known_experiment(experiment_id), console()
    if known.alive:
        raise UserError(f"experiment {known.id} runs ({known.status}): `autoprune watch {known.id}`")
    now = Progress(load_experiment(known.folder), "STOPPED", (), 0.0)
    if now.total and now.ended >= now.total and not more:
        raise UserError(f"experiment {known.id} has run all of its {now.total} trials: add some with --trials N")
    if now.experiment.out_of_time and not (more or duration):
        limit = now.experiment.config["maxExperimentDuration"]
        raise UserError(f"experiment {known.id} has used all of its time ({limit}): allow more with --duration 30m")
    seconds = read_duration(duration) if duration else None
    from autoprune.nni import bridge

    logging.getLogger("nni").setLevel(logging.CRITICAL)  # what fails is raised
    bridge.register()
    bridge.check_port(port)
    try:
        with signals_raise():
            bridge.resume(
                known.id, known.folder.parent, port, now.total + more if now.total and more else None, seconds
            )
            resumed = known_experiment(known.id)
            page = f"{resumed.url}/pareto/"
            terminal.print(
                f"Experiment [bold]{known.id}[/] goes on; NNI's web UI: [link]{resumed.url}[/], the front: {page}\n"
            )
            return _watch_to_the_end(terminal, resumed, stop_at_end=True)
    except bridge.TunerFailed as error:
        print(f"autoprune: {error}", file=sys.stderr)
        return 1
    except Signalled as end:
        print(f"autoprune: ended by {end.name}", file=sys.stderr)
        return end.exit_status


def list_experiments() -> Group:
    """Return a table of every experiment that NNI knows on this machine, the latest first, and what is wrong with any.

    A damaged one does not keep the others from being listed.
    """
    text = ("name", "status", "started")
    table = Table("id", "name", "status", "trials", "failed", "front", "started", "port", left=text, wraps=text)
    notes: list[str] = []
    for known in known_experiments():
        try:
            row, reasons = _row(known)
        except Exception as error:  # whatever is in its files
            row = [known.id, "-", "damaged", "-", "-", "-", "-", "-"]
            reasons = [f"damaged: {type(error).__name__}: {error}"]
        table.add_row(*row)
        notes += [f"{known.id}: {' '.join(reason.split())}" for reason in reasons]
    return Group(table, *map(Text, notes))


def _row(known: KnownExperiment) -> tuple[list[str], list[str]]:
    begun = known.entry["startTime"]
    started = datetime.fromtimestamp(begun / 1000).strftime("%Y-%m-%d %H:%M") if begun else "-"
    name = known.results.name if known.results else known.entry.get("experimentName") or "-"
    status = f"{known.status}, damaged" if known.results and known.damage else known.status
    port = str(known.port) if known.alive else "-"
    reasons = [f"failed: {known.failure}"] if known.failure else []
    reasons += [f"damaged: {line}" for line in known.damage]
    return [known.id, str(name), status, *counts(known), started, port], reasons


def counts(known: KnownExperiment) -> tuple[str, str, str]:
    """Return how many trials have ended, how many failed, and how many are on the front, as the list has them."""
    if known.results is None:
        return "-", "-", "-"
    now = Progress(known.results, "", (), 0.0)
    of = f" of {now.total}" if now.total else ""
    return f"{now.ended}{of}", str(len(known.results.failed)), str(len(known.results.front()))


def _watch_to_the_end(terminal: Console, known: KnownExperiment, stop_at_end: bool) -> int:
    from autoprune.nni import bridge

    try:
        last = live.watch(terminal, known.folder, known.port, known.prefix)
    except KeyboardInterrupt:
        if live.ask(terminal, unasked="leave", default="leave") == "leave":
            terminal.print(f"\nIt goes on. Come back with `autoprune watch {known.id}`.")
            return 0
        bridge.stop(known.id)
        terminal.print(f"\nStopped. Go on with `autoprune resume {known.id}`.")
        return 130
    except Signalled:
        if stop_at_end:
            bridge.stop(known.id)
            terminal.print(f"\nStopped. Go on with `autoprune resume {known.id}`; see `autoprune pareto {known.id}`.")
        raise
    if stop_at_end:
        bridge.stop(known.id)
    ended = known_experiment(known.id)
    status = live.how_it_ended(ended, last)
    return _show_the_end(terminal, ended) if status is None else status


def _show_the_end(terminal: Console, known: KnownExperiment) -> int:
    experiment = load_experiment(known.folder)
    if known.status == "out of time" and not experiment.candidates:
        return live.nothing_to_choose(terminal, experiment)
    if experiment.candidates:
        terminal.print(front_table(experiment))
    for line in live.failures(experiment):
        terminal.print(line)
    now = Progress(experiment, "", (), 0.0)
    terminal.print(f"\nExperiment {known.id}, {known.status}: {experiment.counts}.")
    if now.ran_out_of_time:
        terminal.print(live.time_is_over(experiment))
    if experiment.candidates:
        terminal.print(f"Take a model home with `autoprune export {known.id} --choose knee`.")
    if known.alive:
        terminal.print(f"Its web UI is still served at {known.url}; `autoprune stop {known.id}` ends it.")
    return 1 if known.status == "failed" else 0
