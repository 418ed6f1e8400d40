"""``autoprune run``: a whole search, watched in the terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.base.places import check_folder
from autoprune.base.tables import listed
from autoprune.errors import UserError
from autoprune.finalize.confidence import DEFAULT, check_confidence
from autoprune.nni import live, preflight
from autoprune.nni.database import load_experiment
from autoprune.nni.new_search import find_config
from autoprune.nni.registry import known_experiment
from autoprune.nni.signals import Signalled, signals_raise
from autoprune.nni.watch import Progress
from autoprune.report.terminal import Console, console
from autoprune.report.waiting import waiting
from autoprune.results.baselines import left_out
from autoprune.results.experiment import Experiment, read_duration
from autoprune.results.pareto import read_rule
from autoprune.results.settings import TrialCommand

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig


def run(given: str, port: int, rule: str | None, output: Path, confidence: float = DEFAULT) -> int:
    """Check a config, train the dense model, run the search, and take the chosen model home.

    Args:
        given: the config's file, or a task; see :func:`.find_config`.
        rule: how to choose, see :func:`autoprune.finalize.choice.choose_trial`.
        output: the folder in which the results' folder is made.
        confidence: that a limit on the drop holds.

    Returns:
        The exit status: 0 (also if it was left running), 1 if the search failed, 130 if it was stopped by Ctrl-C or
        from elsewhere, 128 and the signal's number if SIGTERM or SIGHUP ended it: then a report is left behind.

    Raises:
        UserError: bad input; nothing was started.
    """
    try:
        with signals_raise():
            return _run(given, port, rule, output, confidence)
    except Signalled as end:
        print(f"autoprune: ended by {end.name}", file=sys.stderr)
        return end.exit_status


def _run(given: str, port: int, rule: str | None, output: Path, confidence: float) -> int:
    terminal = console()
    started = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from autoprune.base import memory
    from autoprune.nni import bridge

    logging.getLogger("nni").setLevel(logging.CRITICAL)  # what fails is raised
    bridge.register()
    limit = None if rule is None else read_rule(rule)
    check_folder(output)
    check_confidence(confidence)
    config = find_config(given)
    if TrialCommand.parse(str(config.trial_command)) is None:
        raise UserError(f"{given}: trialCommand must be `autoprune trial TASK`, not {config.trial_command!r}")
    bridge.check_port(port)
    if rule is not None and limit is not None:
        preflight.measure_what_is_asked(config, constraints=[rule])
    preflight.check_and_complete(config)
    settings = TrialCommand.parse(str(config.trial_command))
    assert settings is not None  # it was before
    _say_how_long(terminal, config, settings)
    _prepare_dense(terminal, settings, config.trial_code_directory)
    memory.give_back()  # a device's is the trials' now

    try:
        experiment_id = bridge.start(config, port)
    except bridge.TunerFailed as error:
        print(f"autoprune: {error}", file=sys.stderr)
        return 1
    folder = Path(config.experiment_working_directory or "~/nni-experiments").expanduser() / experiment_id
    url = f"http://127.0.0.1:{port}"
    terminal.print(
        f"Experiment [bold]{experiment_id}[/] runs; NNI's web UI: [link]{url}[/], the front: {url}/pareto/\n"
    )
    try:
        last = live.watch(terminal, folder, port)
    except Signalled:
        bridge.stop(experiment_id)
        _leave_report(terminal, folder, output, f"Stopped. Go on with `autoprune resume {experiment_id}`.")
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
    if status is not None:
        return status
    return _take_home(terminal, load_experiment(folder), rule, output, port, started, confidence)


def _say_how_long(terminal: Console, config: ExperimentConfig, settings: TrialCommand) -> None:
    """Print how long everything will take, from a few timed steps, and warn if the config does not allow as much."""
    from autoprune.base.device import resolve
    from autoprune.measure import latency
    from autoprune.trial.estimate import estimate
    from autoprune.trial.setup import settings_task

    with waiting(terminal, "Timing a few steps"), chdir(config.trial_code_directory), latency.pinned(1):
        task, device = settings_task(settings), resolve(settings.device)
        cores = max(1, os.cpu_count() or 1) if device.type == "cpu" else 1
        trials, at_once = config.max_trial_number, min(config.trial_concurrency, cores)
        found = estimate(settings, task, task.splits(), config.search_space, trials or 0, at_once, device)
    if found is None:
        return
    terminal.print(f"{'It will take' if trials else 'Before the candidates it will take'} {found.words}.", markup=False)
    limit = config.max_experiment_duration
    if warning := found.warning(read_duration(limit) if limit else None):
        print(f"autoprune: {warning}", file=sys.stderr)


def _prepare_dense(terminal: Console, settings: TrialCommand, code: str | Path) -> None:
    from autoprune.trial.setup import load_settings

    start = time.monotonic()
    with waiting(terminal, "Training the dense model, or taking it from the cache"), chdir(code):
        import torch

        torch.set_num_threads(1)
        task, _, dense = load_settings(settings)
    m = dense.measures
    terminal.print(
        f"Dense model of [bold]{task.name}[/]: validation {task.metric.noun} {m[task.metric.name]:.4f}, "
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


def _take_home(
    terminal: Console,
    experiment: Experiment,
    rule: str | None,
    output: Path,
    port: int,
    started: float,
    confidence: float,
) -> int:
    if not experiment.candidates:
        return live.nothing_to_choose(terminal, experiment)
    from autoprune.finalize.finish import Options, finish
    from autoprune.report.page import write_report
    from autoprune.report.table import front_table

    folder = output / f"{experiment.name}-{experiment.id}"
    with waiting(terminal, "Fine-tuning the front, and exporting"):
        try:
            final = finish(experiment, rule, folder, Options(whole_front=True, confidence=confidence))
        except Signalled:
            _leave_report(terminal, experiment.folder, output, _over(experiment))
            raise
        except KeyboardInterrupt:
            terminal.print(_over(experiment))
            return 130
        page = write_report(experiment, final, folder / "report.html")
    terminal.print(front_table(experiment, final))
    terminal.print(
        f"\nChosen: trial [bold]{final.chosen.id}[/] ({final.reason}). On the test split: {final.test_quality:.4f}, "
        f"dense {final.dense_test_quality:.4f}."
    )
    if final.worth:
        terminal.print(final.worth.sentence(experiment.metric))
    terminal.print(
        f"{len(experiment.trials)} trials, {len(experiment.failed)} failed, {time.monotonic() - started:.0f} s."
    )
    if Progress(experiment, "", (), 0.0).ran_out_of_time:
        terminal.print(live.time_is_over(experiment))
    files = {name: f"{file}  (loaded back: same outputs)" for name, file in final.files.items()}
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
    return 0
