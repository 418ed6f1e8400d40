"""``autoprune run``: a whole search, watched in the terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.base.places import check_folder
from autoprune.base.printable import printable
from autoprune.base.tables import listed
from autoprune.errors import UserError
from autoprune.finalize.confidence import DEFAULT, check_confidence
from autoprune.nni import live, preflight
from autoprune.nni.database import load_experiment
from autoprune.nni.new_search import find_config
from autoprune.nni.registry import known_experiment
from autoprune.nni.signals import Signalled, signals_raise
from autoprune.nni.time_plan import say_how_long
from autoprune.nni.watch import Progress
from autoprune.report import loggers
from autoprune.report.terminal import Console, console
from autoprune.report.waiting import FINDING, told, waiting
from autoprune.results.baselines import left_out
from autoprune.results.experiment import Experiment, read_duration
from autoprune.results.settings import TrialCommand

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

    from autoprune.task.task import Task


def run(
    given: str,
    port: int,
    rule: str | None,
    output: Path,
    confidence: float = DEFAULT,
    log: str | None = None,
    budget: str | None = None,
) -> int:
    """Check a config, train the dense model, run the search, and take the chosen model home.

    Args:
        given: the config's file, or a task; see :func:`.find_config`.
        rule: how to choose, see :func:`autoprune.finalize.choice.choose_trial`.
        output: the folder in which the results' folder is made.
        confidence: that a limit on the drop holds.
        log: names of loggers, with commas between; see :mod:`autoprune.report.loggers`.
        budget: the time for everything, such as ``20m``, which the search then plans with; see
            :func:`autoprune.trial.plan.plan`. Trials and duration of the config do not count then.

    Returns:
        The exit status: 0 (also if it was left running), 1 if the search failed, 130 if it was stopped by Ctrl-C or
        from elsewhere, 128 and the signal's number if SIGTERM or SIGHUP ended it: then a report is left behind.

    Raises:
        UserError: bad input; nothing was started.
    """
    try:
        with signals_raise():
            return _run(given, port, rule, output, confidence, loggers.checked(log), budget)
    except Signalled as end:
        print(f"autoprune: ended by {end.name}", file=sys.stderr)
        return end.exit_status


def _run(
    given: str,
    port: int,
    rule: str | None,
    output: Path,
    confidence: float,
    log_to: Sequence[str],
    budget: str | None,
) -> int:
    terminal = console()
    if budget is not None:
        read_duration(budget)
    started = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from autoprune.base import memory
    from autoprune.export.possible import possible
    from autoprune.nni import bridge

    logging.getLogger("nni").setLevel(logging.CRITICAL)  # what fails is raised
    bridge.register()
    check_folder(output)
    check_confidence(confidence)
    with waiting(terminal, FINDING):
        config = find_config(given)
    if TrialCommand.parse(str(config.trial_command)) is None:
        raise UserError(f"{given}: trialCommand must be `autoprune trial TASK`, not {config.trial_command!r}")
    bridge.check_port(port)
    with waiting(terminal, f"Checking the task. {FINDING}"):
        checked = preflight.check_and_complete(config, rule)
    settings = TrialCommand.parse(str(config.trial_command))
    assert settings is not None and checked is not None  # it was before
    formats, notes = possible(checked.task, checked.model)
    for note in notes:
        print(printable(f"autoprune: {note}"), file=sys.stderr)
    with _log(terminal, log_to, config) as log:
        say_how_long(terminal, config, checked, budget)
        settings = TrialCommand.parse(str(config.trial_command)) or settings
        task = checked.task
        del checked
        with told(log.doing):
            _prepare_dense(terminal, settings, task, config.trial_code_directory)
        del task
        memory.give_back()  # a device's is the trials' now
        return _search(terminal, config, port, _End(rule, confidence, output, formats, started, log))


@dataclass(frozen=True)
class _End:
    """How a search ends: the rule that chooses, where the results go and in which formats, and who is told.

    Args:
        started: the beginning, by :func:`time.monotonic`.
    """

    rule: str | None
    confidence: float
    output: Path
    formats: tuple[str, ...]
    started: float
    log: loggers.Log


def _log(terminal: Console, names: Sequence[str], config: ExperimentConfig) -> loggers.Log:
    about = {
        "trial command": config.trial_command,
        "trials": config.max_trial_number,
        "duration": config.max_experiment_duration,
        "tuner": config.tuner.class_name or config.tuner.name,
        **(config.tuner.class_args or {}),
    }

    def say(words: str) -> None:
        terminal.print(words, markup=False, highlight=False, soft_wrap=True)

    return loggers.Log(names, config.experiment_name or "search", about, say, lambda words: say(f"autoprune: {words}"))


def _search(terminal: Console, config: ExperimentConfig, port: int, end: _End) -> int:
    from autoprune.nni import bridge

    try:
        experiment_id = bridge.start(config, port, checked=True)
    except bridge.TunerFailed as error:
        print(f"autoprune: {error}", file=sys.stderr)
        return 1
    folder = Path(config.experiment_working_directory or "~/nni-experiments").expanduser() / experiment_id
    url = f"http://127.0.0.1:{port}"
    terminal.print(
        f"Experiment [bold]{experiment_id}[/] runs; NNI's web UI: [link]{url}[/], the front: {url}/pareto/\n"
    )
    try:
        last = live.watch(terminal, folder, port, seen=end.log.see)
    except Signalled:
        bridge.stop(experiment_id)
        _leave_report(terminal, folder, end.output, f"Stopped. Go on with `autoprune resume {experiment_id}`.")
        raise
    except KeyboardInterrupt:
        if live.ask(terminal, unasked="stop") == "leave":
            terminal.print(f"\nIt goes on. Come back with `autoprune watch {experiment_id}`.")
            return 0
        bridge.stop(experiment_id)
        terminal.print(
            f"\nStopped. Go on with `autoprune resume {experiment_id}`; see `autoprune pareto {experiment_id}`."
        )
        return 130
    bridge.stop(experiment_id)
    status = live.how_it_ended(known_experiment(experiment_id), last)
    return _take_home(terminal, load_experiment(folder), port, end) if status is None else status


def _prepare_dense(terminal: Console, settings: TrialCommand, task: Task, code: str | Path) -> None:
    from autoprune.trial.setup import load_settings

    start = time.monotonic()
    with waiting(terminal, "Training the dense model, or taking it from the cache"), chdir(code):
        import torch

        torch.set_num_threads(1)
        task, _, dense = load_settings(settings, task)
    m = dense.measures
    terminal.print(
        f"Dense model of [bold]{task.name}[/]: validation {task.metric.noun} {task.metric.write(m[task.metric.name])}, "
        f"{m['params']:,} parameters, {m['macs']:,} MACs ({time.monotonic() - start:.1f} s)"
    )
    if without := left_out(settings):
        terminal.print(without)


def _over(experiment: Experiment) -> str:
    return f"\nStopped. The search is over: `autoprune export {experiment.id}` takes a model home."


def _leave_report(terminal: Console, folder: Path, output: Path, how_to_go_on: str) -> None:
    """Write the report of what was found so far, as files only: nobody may be there to read more."""
    experiment = load_experiment(folder)
    terminal.print(f"\n{how_to_go_on}")
    if experiment.candidates:
        from autoprune.report.page import write_report

        place = output / f"{experiment.name}-{experiment.id}"
        place.mkdir(parents=True, exist_ok=True)
        terminal.print(f"What was found so far: {write_report(experiment, None, place / 'report.html')}")


def _take_home(terminal: Console, experiment: Experiment, port: int, end: _End) -> int:
    if not experiment.candidates:
        end.log.see(experiment)
        return live.nothing_to_choose(terminal, experiment)
    from autoprune.finalize.finish import Options, finish
    from autoprune.report.exported import on_test
    from autoprune.report.page import write_report
    from autoprune.report.table import front_table

    folder = end.output / f"{experiment.name}-{experiment.id}"
    with waiting(terminal, "Fine-tuning the front, and exporting"), told(end.log.doing):
        try:
            how = Options(end.formats, whole_front=True, lenient=True, confidence=end.confidence)
            final = finish(experiment, end.rule, folder, how)
        except Signalled:
            _leave_report(terminal, experiment.folder, end.output, _over(experiment))
            raise
        except KeyboardInterrupt:
            terminal.print(_over(experiment))
            return 130
        page = write_report(experiment, final, folder / "report.html")
    end.log.end(experiment, final)
    terminal.print(front_table(experiment, final))
    said = on_test(final)
    terminal.print(f"\nChosen: trial [bold]{final.chosen.id}[/] ({final.reason}). {said[:1].upper()}{said[1:]}.")
    if final.worth:
        terminal.print(final.worth.sentence(experiment.metric))
    terminal.print(
        f"{len(experiment.trials)} trials, {len(experiment.failed)} failed, {time.monotonic() - end.started:.0f} s."
    )
    if Progress(experiment, "", (), 0.0).ran_out_of_time:
        terminal.print(live.time_is_over(experiment))
    files = {name: f"{file}  (loaded back: same outputs)" for name, file in final.files.items()}
    if not files:
        files = {"weights": f"{final.fine_tuned[final.chosen.id].file}  (a state dict)"}
    left = {"report": f"{page}  (open it in a browser)", **files}
    left |= {"front": str(folder / "front.csv"), "trials": str(experiment.folder)}
    terminal.print("", *listed(left), "\nNext:", sep="\n")
    if os.environ.get("VIRTUAL_ENV") != sys.prefix:
        terminal.print(f"  . {Path(sys.prefix) / 'bin' / 'activate'}")
    for command in (
        f"nnictl view {experiment.id} --port {port}        # NNI's web UI and /pareto/, on the finished search",
        f"autoprune pareto {experiment.id}                 # this table again",
        f"autoprune export {experiment.id} --choose knee   # another model of the front",
    ):
        terminal.print(f"  {command}")
    for name, why in final.left_out.items():
        print(printable(f"autoprune: there is no file of the format {name}: {why}"), file=sys.stderr)
    return 1 if final.left_out else 0
