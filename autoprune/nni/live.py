"""The live view of a running experiment in the terminal, and what Ctrl-C means there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from autoprune.base.printable import printable
from autoprune.base.tables import Table
from autoprune.nni.registry import KnownExperiment
from autoprune.nni.watch import Progress as Snapshot
from autoprune.nni.watch import follow
from autoprune.report.progress import best_so_far, doing
from autoprune.report.waiting import EVERY, bars, time_left
from autoprune.results import units
from autoprune.results.candidate import renamed
from autoprune.results.experiment import Experiment
from autoprune.results.shortness import too_short

Answer = Literal["leave", "stop"]


def watch(
    terminal: Console,
    folder: Path,
    port: int,
    prefix: str | None = None,
    seen: Callable[[Experiment], None] = lambda experiment: None,
) -> Snapshot:
    """Show an experiment until it is over; without a terminal, as one line every ten seconds.

    Args:
        folder: the experiment's folder.
        port: its manager's.
        prefix: the path under which the manager serves, if any.
        seen: called with the experiment at each look.

    Returns:
        The last that was seen.
    """
    if not terminal.is_terminal:
        said, warned = -EVERY, False

        def say(now: Snapshot) -> None:
            nonlocal said, warned
            seen(now.experiment)
            if not warned and (warning := too_short(now.experiment)):
                warned = True
                terminal.print(warning, markup=False, soft_wrap=True)
            if now.over or now.elapsed >= said + EVERY:
                said = now.elapsed
                terminal.print(one_line(now))

        return follow(folder, port, say, prefix=prefix)

    with Live(console=terminal, refresh_per_second=2) as live:

        def draw(now: Snapshot) -> None:
            live.update(picture(now))
            seen(now.experiment)

        return follow(folder, port, draw, prefix=prefix)


def one_line(now: Snapshot) -> str:
    """Return how far an experiment is, for a log."""
    left = "" if now.over else time_left(now.seconds_left)
    line = f"{now.elapsed:4.0f} s: {now.experiment.counts}{left}; {best_so_far(now.experiment, 6) or 'no front yet'}"
    return "; ".join([line, *doing(now.experiment, most=1)])


def picture(now: Snapshot) -> Group:
    """Return the bar, the front so far, and why the latest failures failed."""
    bar = bars()
    counts = f"{now.experiment.counts}{time_left(now.seconds_left)}"
    bar.add_task(units.duration(now.elapsed), total=now.total or 1, completed=now.ended, counts=counts)
    running = [Text(f"  {line}", style="dim") for line in doing(now.experiment)]
    warning = too_short(now.experiment)
    warned = [Text(warning, style="bold yellow")] if warning else []
    return Group(bar, *running, *warned, _live_front(now.experiment), *failures(now.experiment))


def how_it_ended(known: KnownExperiment, last: Snapshot) -> int | None:
    """Say why a search ended early.

    Args:
        known: the experiment, as it is now.
        last: the last that was seen of it.

    Returns:
        The exit status: 1 if it failed, 130 if it was stopped from elsewhere, None if it came to its end.
    """
    go_on = f"go on with `autoprune resume {known.id}`"
    if last.status == "ERROR":
        print(printable(f"autoprune: the search failed: {'; '.join(last.errors)}; {go_on}"), file=sys.stderr)
        return 1
    if last.status not in ("GONE", "STOPPED") or known.status == "done":
        return None
    if known.status == "stopped":
        print(printable(f"autoprune: the search was stopped from elsewhere: {go_on}"), file=sys.stderr)
        return 130
    reason = known.failure or f"NNI's manager was killed, see {known.folder / 'log'}"
    print(printable(f"autoprune: the search failed: {reason}; {go_on}"), file=sys.stderr)
    return 1


def nothing_to_choose(terminal: Console, experiment: Experiment) -> int:
    """Show what there is of a search without a successful candidate, say why it has none, and return 1."""
    measured = [trial for trial in experiment.trials if trial.succeeded]
    if measured:
        from autoprune.report.table import front_table

        terminal.print(front_table(experiment))
    for line in failures(experiment):
        terminal.print(line)
    there_are = (
        f"{len(measured)} other trials, of the dense model and the baselines, did" if measured else "nor any other"
    )
    reason = f"no candidate of experiment {experiment.id} succeeded ({there_are})"
    if Snapshot(experiment, "", (), 0.0).ran_out_of_time:
        reason += f": {time_is_over(experiment)}"
    print(printable(f"autoprune: {reason}"), file=sys.stderr)
    return 1


def time_is_over(experiment: Experiment) -> str:
    """Say that a search has used its time, and how to go on."""
    limit = experiment.config["maxExperimentDuration"]
    return f"the time allowed, {limit}, was over; go on with `autoprune resume {experiment.id} --duration {limit}`"


def failures(experiment: Experiment) -> list[str]:
    """Return why the last three failed trials failed, a line each, in rich's markup."""
    return [f"[red]failed[/]: trial {trial.id}: {escape(trial.reason or '')}" for trial in experiment.failed[-3:]]


def ask(terminal: Console, unasked: Answer, default: Answer | None = None) -> Answer:
    """Ask after a Ctrl-C whether the experiment goes on.

    Args:
        unasked: the answer where nobody can be asked: there is no terminal.
        default: the answer of a mere Enter; None asks again. A second Ctrl-C and the end of the input count as
            ``default`` too, or as ``stop``.
    """
    if not (terminal.is_terminal and sys.stdin.isatty()):
        return unasked
    leave, stop = ("[L]eave" if default == "leave" else "[l]eave"), ("[S]top" if default == "stop" else "[s]top")
    while True:
        try:
            terminal.print(f"\n{leave} it running, or {stop} it? ", end="", markup=False)
            word = input().strip().lower()
        except (EOFError, KeyboardInterrupt):
            return default or "stop"
        if word and "leave".startswith(word):
            return "leave"
        if word and "stop".startswith(word):
            return "stop"
        if not word and default:
            return default


def _live_front(experiment: Experiment) -> Table:
    """Return the front in the measures that are searched for."""
    measures = experiment.searched
    nouns = [each.noun for each in measures]
    table = Table("trial", *nouns, "criterion", "schedule", left=("criterion", "schedule"), title="Pareto front so far")
    for trial in experiment.front()[:12]:
        p = trial.parameters
        values = [each.write(trial.metrics[each.name]) for each in measures]
        table.add_row(trial.id, *values, p.get("criterion"), renamed(p).get("schedule"))
    return table
