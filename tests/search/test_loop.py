"""One loop and one interface: any tuner of ask and tell runs in it, and behind NNI's dispatcher as well."""

import json

import pytest
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from nni.runtime.tuner_command_channel import CommandType
from problem import SPACE, judge, prepared

from autoprune.errors import UserError
from autoprune.nni.algorithms import create
from autoprune.nni.tuner_host import Dispatcher
from autoprune.nni.tuners import NniTuner
from autoprune.results.prepared import FILE
from autoprune.search import OptunaTuner, Tuner, loop
from autoprune.search.tuners.base import NoMoreCandidates


class Halves(Tuner):
    """Proposes 0, 1/2, 3/4, ... for ``sparsity.a``, and writes down what it hears."""

    def __init__(self, most=10):
        self.most, self.heard = most, []

    def update_search_space(self, search_space):
        self.heard.append(("space", sorted(search_space)))

    def prepare(self, known):
        self.heard.append(("prepared", [each.dense["accuracy"] for each in known]))

    def ask(self, number):
        asked = sum(kind == "asked" for kind, _ in self.heard)
        if asked == self.most:
            raise NoMoreCandidates
        self.heard.append(("asked", number))
        return {"sparsity.a": 1 - 0.5**asked}

    def tell(self, number, parameters, metrics):
        self.heard.append(("told", number if metrics is None else metrics["macs"]))

    def resume(self, results):
        self.heard.append(("resumed", results))


def write_prepared(folder):
    folder.mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(prepared().to_dict()))


def test_first_trials_run_first_and_prepare_the_tuner(tmp_path):
    tuner, ran = Halves(), []

    def run(parameters):
        ran.append(dict(parameters))
        if "baseline" in parameters:
            write_prepared(tmp_path / str(len(ran)))
        return judge(parameters) if parameters.get("sparsity.a") != 0.5 else None

    folders = lambda: sorted(tmp_path.iterdir())  # noqa: E731
    loop.search(tuner, run, range(3), [{"baseline": "dense"}, {"baseline": "l1_filter"}], folders)
    assert [each.get("baseline") or each["sparsity.a"] for each in ran] == ["dense", "l1_filter", 0, 0.5, 0.75]
    sizes = [judge({"sparsity.a": value})["macs"] for value in (0, 0.75)]
    assert tuner.heard[0] == ("prepared", [0.95, 0.95])
    assert [value for kind, value in tuner.heard if kind == "told"] == [sizes[0], 1, sizes[1]]


def test_the_loop_ends_when_a_tuner_has_no_more():
    tuner = Halves(most=2)
    loop.search(tuner, judge, range(10))
    assert [kind for kind, _ in tuner.heard] == ["asked", "told"] * 2


def test_an_interrupted_trial_is_not_told():
    def run(parameters):
        raise KeyboardInterrupt

    tuner = Halves()
    with pytest.raises(KeyboardInterrupt):
        loop.search(tuner, run, range(10))
    assert [kind for kind, _ in tuner.heard] == ["asked"]


def test_nni_s_own_tuners_run_in_the_loop():
    tuner, values = NniTuner(TpeTuner(optimize_mode="maximize", seed=0)), []
    tuner.update_search_space(SPACE)
    loop.search(tuner, lambda parameters: values.append(judge(parameters)) or values[-1], range(30))
    assert len(values) == 30
    assert max(each["default"] for each in values[20:]) > 0.95

    space, seen = {"sparsity.c": {"_type": "choice", "_value": [0.0, 0.5]}}, []
    grid = NniTuner(GridSearchTuner())
    grid.update_search_space(space)
    loop.search(grid, lambda parameters: seen.append(parameters["sparsity.c"]) or judge(parameters), range(10))
    assert seen == [0.0, 0.5]


class Channel:
    def __init__(self):
        self.sent = []

    def _send(self, command, content):
        self.sent.append((command, json.loads(content) if content else None))


def end(dispatcher, trial, metrics):
    if metrics is not None:
        metric = {"type": "FINAL", "sequence": 0, "value": json.dumps(metrics), "trial_job_id": "T"}
        dispatcher.process_command(CommandType.ReportMetricData, metric | {"parameter_id": trial["parameter_id"]})
    event = "FAILED" if metrics is None else "SUCCEEDED"
    ended = {"trial_job_id": "T", "event": event, "hyper_params": json.dumps(trial)}
    dispatcher.process_command(CommandType.TrialEnd, ended)


def test_a_tuner_of_ask_and_tell_is_served_behind_nni_by_its_class_name(tmp_path):
    tuner = create({"className": f"{__name__}.Halves", "classArgs": {"most": 3}}, "tuner")
    write_prepared(tmp_path / "environments" / "local" / "trials" / "A")
    (tmp_path / "log").mkdir()
    channel = Channel()
    dispatcher = Dispatcher(channel, tuner, baselines=[{"baseline": "dense"}], folder=tmp_path)
    dispatcher.process_command(CommandType.Initialize, SPACE)
    dispatcher.process_command(CommandType.ImportData, [{"parameter": {"sparsity.a": 0.25}, "value": {"macs": 5}}])
    dispatcher.process_command(CommandType.RequestTrialJobs, 2)
    trials = lambda: [content for kind, content in channel.sent if kind is CommandType.NewTrialJob]  # noqa: E731
    assert [trial["parameters"] for trial in trials()] == [{"baseline": "dense"}]
    end(dispatcher, trials()[0], {"default": 1.0})
    assert [trial["parameters"] for trial in trials()] == [{"baseline": "dense"}, {"sparsity.a": 0.0}]
    dispatcher.process_command(CommandType.RequestTrialJobs, 2)
    end(dispatcher, trials()[1], {"macs": 7})
    end(dispatcher, trials()[2], None)
    end(dispatcher, trials()[3], {"macs": 3})
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    assert channel.sent[-1][0] is CommandType.NoMoreTrialJobs
    heard = tuner.original.heard
    assert heard[:3] == [
        ("space", sorted(SPACE)),
        ("resumed", [({"sparsity.a": 0.25}, {"macs": 5})]),
        ("prepared", [0.95]),
    ]
    assert [value for kind, value in heard if kind == "told"] == [7, trials()[2]["parameter_id"], 3]


@pytest.mark.parametrize("value", ["0.9", "NaN", '"text"', "null"])
def test_a_plain_number_or_nonsense_that_a_trial_reports_is_a_failed_trial(tmp_path, value):
    arguments = {"storage": str(tmp_path / "study.journal"), "rungs": False}
    tuner = create({"className": "autoprune.search.OptunaTuner", "classArgs": arguments}, "tuner")
    assert isinstance(tuner.original, OptunaTuner)
    dispatcher = Dispatcher(channel := Channel(), tuner)
    dispatcher.process_command(CommandType.Initialize, SPACE)
    dispatcher.process_command(CommandType.RequestTrialJobs, 1)
    trial = channel.sent[-1][1]
    metric = {"type": "FINAL", "sequence": 0, "value": value, "trial_job_id": "T"}
    dispatcher.process_command(CommandType.ReportMetricData, metric | {"parameter_id": trial["parameter_id"]})
    end(dispatcher, trial, None)
    assert [each.state.name for each in tuner.original.study.trials] == ["FAIL"]


def test_outside_of_nni_a_tuner_leaves_no_files_unless_told_where(tmp_path, monkeypatch):
    from autoprune.search import AmcTuner

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NNI_CHECKPOINT_DIRECTORY", raising=False)
    for tuner in (OptunaTuner(), AmcTuner()):
        tuner.update_search_space({name: SPACE[name] for name in ("sparsity.a", "sparsity.b", "sparsity.c")})
        tuner.prepare([prepared()])
        loop.search(tuner, judge, range(3))
    assert len(tuner.episodes) == 3
    assert not list(tmp_path.iterdir())


def test_a_served_tuner_s_own_error_is_named_by_its_own_method():
    from autoprune.nni.algorithms import callback_of

    class Broken(Halves):
        def ask(self, number):
            raise UserError("nothing fits")

    from autoprune.nni.tuners import served

    tuner = served(Broken())
    with pytest.raises(UserError) as caught:
        tuner.generate_parameters(0)
    assert callback_of(caught.value, tuner) == "ask"
