"""The dispatcher's own logic, with a channel that only writes down."""

import json

import pytest
from nni.runtime.tuner_command_channel import CommandType

from autoprune.nni import tuner_host
from autoprune.nni.tuner_host import Dispatcher

BASELINES = [{"baseline": "l1", "sparsity": 0.25}, {"baseline": "l1", "sparsity": 0.5}, {"baseline": "l1"}]


class RecordingChannel:
    def __init__(self):
        self.trials = []

    def _send(self, command, content):
        if command is CommandType.NewTrialJob:
            self.trials.append(json.loads(content))

    @property
    def parameters(self):
        return [trial["parameters"] for trial in self.trials]


class RecordingTuner:
    """Proposes 0, 1, 2, ... and writes down what it is told."""

    def __init__(self):
        self.asked = 0
        self.heard = []

    def generate_multiple_parameters(self, ids, **_):
        first, self.asked = self.asked, self.asked + len(ids)
        return [{"x": value} for value in range(first, self.asked)]

    def receive_trial_result(self, id_, parameters, value, **_):
        self.heard.append(("result", parameters, value))

    def trial_end(self, id_, success):
        self.heard.append(("end", success))

    def import_data(self, data):
        self.heard.append(("import", data))


@pytest.fixture
def make():
    def dispatcher(baselines=BASELINES):
        return Dispatcher(RecordingChannel(), RecordingTuner(), baselines=baselines)

    return dispatcher


def end(dispatcher, trial, value="0.9"):
    metric = {"type": "FINAL", "sequence": 0, "value": value, "trial_job_id": "T"}
    dispatcher.process_command(CommandType.ReportMetricData, metric | {"parameter_id": trial["parameter_id"]})
    ended = {"trial_job_id": "T", "event": "SUCCEEDED", "hyper_params": json.dumps(trial)}
    dispatcher.process_command(CommandType.TrialEnd, ended)


def test_the_tuner_is_asked_only_after_every_baseline_has_ended(make):
    dispatcher = make()
    sent = dispatcher._channel
    dispatcher.process_command(CommandType.RequestTrialJobs, 2)
    assert sent.parameters == BASELINES[:2]
    end(dispatcher, sent.trials[0])
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert sent.parameters == BASELINES
    end(dispatcher, sent.trials[2])
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert sent.parameters == BASELINES  # one still runs: the request is held
    end(dispatcher, sent.trials[1])
    assert sent.parameters == [*BASELINES, {"x": 0}]
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert sent.parameters == [*BASELINES, {"x": 0}, {"x": 1}]


def test_the_tuner_hears_of_its_own_trials_and_of_no_baseline(make):
    dispatcher = make(BASELINES[:1])
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    end(dispatcher, dispatcher._channel.trials[0])
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert dispatcher.tuner.heard == []
    end(dispatcher, dispatcher._channel.trials[1], value='{"default": 0.8, "note": "a # b"}')
    assert dispatcher.tuner.heard == [("result", {"x": 0}, {"default": 0.8, "note": "a # b"}), ("end", True)]


def test_on_resume_finished_and_interrupted_baselines_are_not_sent_again(make):
    dispatcher = make()
    sent = dispatcher._channel
    own = {"parameter": {"x": 7}, "value": 0.5, "trialJobId": "A"}
    done = {"parameter": BASELINES[0], "value": 0.6, "trialJobId": "B"}
    interrupted = {"parameter_id": 4, "parameters": BASELINES[1], "parameter_index": 0}
    dispatcher.process_command(CommandType.ImportData, [own, done])
    dispatcher.process_command(CommandType.AddCustomizedTrialJob, [interrupted])
    assert dispatcher.tuner.heard == [("import", [own])]

    dispatcher.process_command(CommandType.RequestTrialJobs, 2)
    assert sent.parameters == BASELINES[2:]
    end(dispatcher, sent.trials[0])
    assert sent.parameters == BASELINES[2:]  # the interrupted one runs again
    end(dispatcher, interrupted)
    assert sent.parameters == [BASELINES[2], {"x": 0}]
    assert dispatcher.tuner.heard == [("import", [own])]


def test_a_dense_trial_that_an_earlier_version_ran_is_not_run_again(make):
    dense, former = ({"baseline": "dense", "schedule": name} for name in ("supernet", "shared"))
    dispatcher = make([dense])
    dispatcher.process_command(CommandType.ImportData, [{"parameter": former, "value": 1, "trialJobId": "A"}])
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert dispatcher._channel.parameters == [{"x": 0}]


def test_without_baselines_a_parameter_of_that_name_is_the_tuner_s_own(make):
    dispatcher = make([])
    record = {"parameter": {"baseline": "mine"}, "value": 1, "trialJobId": "A"}
    dispatcher.process_command(CommandType.ImportData, [record])
    assert dispatcher.tuner.heard == [("import", [record])]


@pytest.mark.parametrize("in_place", [True, False])
def test_the_first_trials_follow_the_search_space_wherever_it_is_written(tmp_path, monkeypatch, in_place):
    space = {"schedule": {"_type": "choice", "_value": ["supernet"]}}
    (tmp_path / "space.yaml").write_text(json.dumps(space))
    where = {"searchSpace": space} if in_place else {"searchSpaceFile": str(tmp_path / "space.yaml")}
    served = []
    monkeypatch.setattr(tuner_host.algorithms, "create", lambda *_: RecordingTuner())
    monkeypatch.setattr(tuner_host, "serve", lambda dispatcher, channel: served.append(dispatcher))
    config = {"tuner": {}, "trialCommand": "autoprune trial digits --no-baselines"} | where
    assert tuner_host.run(config, RecordingChannel()) is None
    served[0].process_command(CommandType.RequestTrialJobs, 1)
    assert [(p["baseline"], p["schedule"]) for p in served[0]._channel.parameters] == [("dense", "supernet")]
