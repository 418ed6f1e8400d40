"""Serving a tuner: the manager's commands become calls of it, after the dense model and the baselines have run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nni.runtime import msg_dispatcher_base
from nni.runtime.msg_dispatcher import MsgDispatcher, _create_parameter_id, _pack_parameter
from nni.runtime.msg_dispatcher_base import MsgDispatcherBase
from nni.runtime.tuner_command_channel import CommandType

from autoprune.base.files import write_text
from autoprune.base.yaml_file import load_yaml
from autoprune.errors import UserError
from autoprune.nni import algorithms
from autoprune.nni.bridge.serializer import load, receive_plain_json
from autoprune.nni.channel import Channel, ManagerLost
from autoprune.results import baselines
from autoprune.results.candidate import renamed
from autoprune.results.prepared import SENSITIVITY
from autoprune.results.settings import TrialCommand
from autoprune.search import loop

_logger = logging.getLogger("autoprune.tuner")


class Dispatcher(MsgDispatcher):
    """Carries the manager's commands to the tuner, after the baselines have run.

    Args:
        channel: the connection to the manager.
        tuner: NNI's, or ours as NNI calls it (:func:`autoprune.nni.tuners.served`). Ours is prepared by what the dense
            model's trials wrote down, once, before it is asked for anything.
        assessor: stops hopeless trials, or None.
        baselines: parameter sets to be run first, each marked by the key ``baseline``. The tuner never hears of them.
        folder: the experiment's.
    """

    def __init__(
        self,
        channel: Channel,
        tuner: Any,
        assessor: Any = None,
        baselines: Sequence[dict[str, Any]] = (),
        folder: Path | None = None,
    ) -> None:
        super().__init__("ws://_unittest_", tuner, assessor)  # an address that NNI does not connect to
        self._channel = channel
        self._folder = folder
        self._prepared = False
        self._has_baselines = bool(baselines)
        self._waiting = list(baselines)
        self._running: set[int] = set()
        self._baseline_ids: set[int] = set()
        self._held = 0

    def handle_request_trial_jobs(self, data: int) -> None:
        """Answer a request for ``data`` trials: baselines first, and only then, once they ended, the tuner's."""
        first, self._waiting = self._waiting[:data], self._waiting[data:]
        for parameters in first:
            id_ = _create_parameter_id()
            self._note_baseline(id_)
            self.send(CommandType.NewTrialJob, _pack_parameter(id_, parameters))
        self._held += data - len(first)
        self._release()

    def handle_import_data(self, data: list[dict[str, Any]]) -> None:
        """Pass earlier results to the tuner, less those of baselines, which need not run again.

        What is no result of named parameters, which anybody may send to NNI's API, is left out.
        """
        data = [entry for entry in data if isinstance(entry["parameter"], dict)]
        self._waiting = [each for each in self._waiting if each not in [renamed(entry["parameter"]) for entry in data]]
        super().handle_import_data([entry for entry in data if not self._is_baseline(entry["parameter"])])

    def handle_add_customized_trial(self, data: list[Any]) -> None:
        """Note the interrupted trials, which the manager runs again by itself."""
        super().handle_add_customized_trial(data)
        for trial in [load(each) if isinstance(each, str) else each for each in data]:
            if self._is_baseline(trial["parameters"]) and trial["parameter_id"] is not None:
                self._note_baseline(trial["parameter_id"])
                self._waiting = [each for each in self._waiting if each != renamed(trial["parameters"])]

    def handle_report_metric_data(self, data: dict[str, Any]) -> None:
        """Pass a metric on, unless it is a baseline's."""
        if data["parameter_id"] not in self._baseline_ids:
            super().handle_report_metric_data(data)

    def handle_trial_end(self, data: dict[str, Any]) -> None:
        """Pass the end of a trial on; the end of the last baseline lets the tuner begin."""
        id_ = load(data["hyper_params"])["parameter_id"]
        if id_ in self._baseline_ids:
            self._running.discard(id_)
            self._release()
        else:
            super().handle_trial_end(data)

    def _note_baseline(self, id_: int) -> None:
        self._baseline_ids.add(id_)
        self._running.add(id_)

    def _is_baseline(self, parameters: Any) -> bool:
        return self._has_baselines and isinstance(parameters, dict) and bool(parameters.get("baseline"))

    def _release(self) -> None:
        if self._held and not self._waiting and not self._running:
            held, self._held = self._held, 0
            self._prepare()
            super().handle_request_trial_jobs(held)

    def _prepare(self) -> None:
        """Hand the tuner what the dense model's trials wrote down, and leave the sensitivity for the Pareto page."""
        if self._prepared or self._folder is None:
            return
        self._prepared = True
        found = loop.prepare_tuner(self.tuner, sorted(self._folder.glob("environments/*/trials/*")))
        if found:
            write_text(self._folder / SENSITIVITY, json.dumps(found[0].sensitivity))


def serve(dispatcher: MsgDispatcherBase, channel: Channel) -> None:
    """Handle the manager's commands, one after the other, until it says goodbye.

    The manager learns that the tuner is up when the first request for trials has been handled.
    """
    up = False
    dispatcher.enqueue_command = dispatcher.process_command  # NNI's own queues have no reader here
    if os.environ.get("NNI_MODE") == "resume":
        dispatcher.load_checkpoint()
    while (command := channel.receive()) is not None:
        kind, content = CommandType(command[0]), command[1]
        dispatcher.process_command(kind, load(content) if content else content)
        if kind is CommandType.RequestTrialJobs and not up:
            channel.send("UP", "")
            up = True


def run(config: dict[str, Any], channel: Channel) -> str | None:
    """Make the tuner and serve it until the experiment ends.

    Returns:
        Why the tuner failed, as one line, or None.
    """
    receive_plain_json()
    tuner = assessor = None
    try:
        # Advisors open a channel of their own: let it be this one.
        msg_dispatcher_base.TunerCommandChannel = lambda _url: channel
        TrialCommand.parse(config.get("trialCommand") or "")  # it declares the task's metric, an objective
        tuner = algorithms.create(config["tuner"], "tuner")
        if isinstance(tuner, MsgDispatcherBase):
            serve(tuner, channel)
            return None
        if config.get("assessor"):
            assessor = algorithms.create(config["assessor"], "assessor")
        first = baselines.first(config.get("trialCommand") or "", _search_space(config))
        serve(Dispatcher(channel, tuner, assessor, first, _experiment_folder()), channel)
    except ManagerLost:
        _logger.error("The manager is gone: the tuner ends too.")
    except Exception as error:
        _logger.exception("The tuner failed")
        _for_each("_on_error", tuner, assessor)
        return _reason(error, config, tuner, assessor)
    _for_each("_on_exit", tuner, assessor)
    return None


def _search_space(config: dict[str, Any]) -> dict[str, Any]:
    """Return the search space, which the manager does not put into the config that it was read from a file for."""
    if config.get("searchSpace") or not config.get("searchSpaceFile"):
        return config.get("searchSpace") or {}
    return load_yaml(config["searchSpaceFile"])


def _experiment_folder() -> Path | None:
    log = os.environ.get("NNI_LOG_DIRECTORY")
    return Path(log).parent if log else None


def _reason(error: Exception, config: dict[str, Any], tuner: Any, assessor: Any) -> str:
    if isinstance(error, UserError):
        return algorithms.one_line(error)
    for kind, algorithm in (("assessor", assessor), ("tuner", tuner)):
        callback = algorithm is not None and algorithms.callback_of(error, algorithm)
        if callback:
            name = config[kind].get("name") or config[kind].get("className")
            return f"{kind} {name}: {callback}() raised {algorithms.describe(error)}"
    return f"the dispatcher failed: {algorithms.describe(error)}"


def _for_each(method: str, *algorithms_: Any) -> None:
    for algorithm in algorithms_:
        if hasattr(algorithm, method):
            getattr(algorithm, method)()
