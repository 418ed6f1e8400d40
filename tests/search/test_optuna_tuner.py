import math
import warnings

import optuna
import pytest

from autoprune.errors import UserError
from autoprune.search.tuners.optuna.tuner import SAMPLERS, OptunaTuner

SPACE = {
    "criterion": {"_type": "choice", "_value": ["l1_norm", "fpgm"]},
    "sparsity.a": {"_type": "quniform", "_value": [0.0, 0.9, 0.1]},
    "sparsity.b": {"_type": "uniform", "_value": [0.0, 0.9]},
}


def make(tmp_path, **arguments) -> OptunaTuner:
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), **{"rungs": False} | arguments)
    tuner.update_search_space(SPACE)
    return tuner


def judge(parameters) -> dict:
    """Two objectives that conflict: the more is pruned, the smaller and the worse."""
    a, b = parameters["sparsity.a"], parameters["sparsity.b"]
    return {"accuracy": 1 - 0.5 * a**2 - 0.1 * b**2, "macs": (1 - a) * (1 - b), "default": (2 - a**2) * (1 - b)}


def search(tuner, trials: range) -> None:
    for i in trials:
        parameters = tuner.ask(i)
        tuner.tell(i, parameters, judge(parameters))


def test_a_search_is_quiet_and_gives_the_verbosity_and_the_warning_filters_back(tmp_path, capfd, recwarn):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    filters = list(warnings.filters)
    search(make(tmp_path, sampler="cmaes", rungs=True), range(4))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert warnings.filters == filters
    assert capfd.readouterr() == ("", "")
    assert not [each for each in recwarn if issubclass(each.category, optuna.exceptions.ExperimentalWarning)]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_every_sampler_proposes_points_of_the_space_and_takes_results(tmp_path, sampler):
    tuner = make(tmp_path, sampler=sampler)
    search(tuner, range(12))
    for trial in tuner.study.get_trials():
        assert trial.params["criterion"] in ("l1_norm", "fpgm")
        assert 0 <= trial.params["sparsity.b"] <= 0.9
        steps = trial.params["sparsity.a"] / 0.1
        assert math.isclose(steps, round(steps), abs_tol=1e-6)
    assert len(tuner.study.best_trials) >= (1 if sampler == "cmaes" else 2)


@pytest.mark.slow
def test_the_gaussian_process_sampler_proposes_points_too(tmp_path):
    tuner = make(tmp_path, sampler="gp")
    search(tuner, range(14))
    assert len(tuner.study.best_trials) >= 2


def test_the_same_seed_proposes_the_same_points(tmp_path):
    first, second = (make(tmp_path / name, seed=7) for name in "ab" if (tmp_path / name).mkdir() is None)
    assert [first.ask(i) for i in range(5)] == [second.ask(i) for i in range(5)]


def test_the_study_is_in_a_file_that_optuna_opens(tmp_path):
    search(make(tmp_path), range(3))
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    study = optuna.load_study(study_name="autoprune", storage=optuna.storages.JournalStorage(file))
    assert len(study.trials) == 3
    assert study.metric_names == ["accuracy", "macs"]


@pytest.mark.parametrize("value", [{"accuracy": math.nan, "macs": 1.0}, {"accuracy": 0.9}, 0.9, None])
def test_a_result_without_finite_objectives_is_a_failed_trial_not_a_crash(tmp_path, value):
    tuner = make(tmp_path)
    tuner.tell(0, tuner.ask(0), value)
    assert [t.state.name for t in tuner.study.trials] == ["FAIL"]


def test_a_trial_that_fails_is_told_and_the_search_goes_on(tmp_path):
    tuner = make(tmp_path)
    tuner.tell(0, tuner.ask(0), None)
    search(tuner, range(1, 3))
    assert [t.state.name for t in tuner.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_candidate_that_was_judged_is_not_proposed_again(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), sampler="random", rungs=False)
    tuner.update_search_space({"sparsity.a": {"_type": "choice", "_value": [0.0, 0.25, 0.5, 0.75]}})
    seen = []
    for i in range(4):
        parameters = tuner.ask(i)
        seen.append(parameters["sparsity.a"])
        tuner.tell(i, parameters, {"accuracy": 1 - seen[-1], "macs": 1 - seen[-1]})
    assert sorted(seen) == [0.0, 0.25, 0.5, 0.75]


def test_a_restarted_tuner_loses_no_trial_and_repeats_none(tmp_path):
    first = make(tmp_path)
    search(first, range(5))
    interrupted = first.ask(5)
    finished = [(dict(t.params), judge(t.params)) for t in first.study.trials[:5]]

    second = make(tmp_path)
    second.resume(finished)  # NNI gives what had finished ...
    second.resume([(interrupted, judge(interrupted))])  # ... and what it ran again
    assert [t.state.name for t in second.study.trials] == ["COMPLETE"] * 6
    search(second, range(6, 8))
    assert len(second.study.trials) == 8


def test_results_of_another_study_are_imported(tmp_path):
    tuner = make(tmp_path)
    parameters = {"criterion": "fpgm", "sparsity.a": 0.3, "sparsity.b": 0.25}
    tuner.resume([(parameters, judge(parameters))])
    assert [t.values for t in tuner.study.trials] == [[pytest.approx(1 - 0.045 - 0.00625), pytest.approx(0.525)]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee': use tpe"),
        ({"objectives": ["flops"]}, "unknown objective 'flops'"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": "one"}, "seed must be a whole number, not 'one'"),
        ({"constraints": ["fast"]}, "cannot read the constraint 'fast'"),
        ({"constraints": "drop<=1%"}, "constraints must be a list"),
        ({"rungs": "yes"}, "rungs must be true or false, not 'yes'"),
        ({"reduction": 1}, "reduction must be at least 2, not 1"),
        ({"study": ""}, "study must not be empty"),
    ],
)
def test_wrong_arguments_are_refused_with_the_near_matches(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        make(tmp_path, **arguments)


def test_an_unknown_kind_of_entry_is_refused(tmp_path):
    with pytest.raises(UserError, match="_type 'normal'"):
        make(tmp_path).update_search_space({"sparsity.a": {"_type": "normal", "_value": [0, 1]}})


def test_cma_es_maximises_the_one_number_and_leaves_no_warnings(tmp_path, caplog, capsys):
    tuner = make(tmp_path, sampler="cmaes")
    search(tuner, range(60))
    assert tuner.study.metric_names == ["default"]
    values = [trial.value for trial in tuner.study.get_trials()]
    assert max(values) == tuner.study.best_value > 1.9
    assert sum(values[-20:]) > sum(values[:20])
    assert not caplog.records
    assert not capsys.readouterr().err


def test_a_result_without_the_one_number_is_a_failed_trial_for_cma_es(tmp_path):
    tuner = make(tmp_path, sampler="cmaes")
    tuner.tell(0, tuner.ask(0), {"accuracy": 0.9, "macs": 1.0})
    assert [t.state.name for t in tuner.study.trials] == ["FAIL"]


def test_a_candidate_that_is_running_or_has_failed_is_not_proposed_again(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), sampler="random", rungs=False)
    tuner.update_search_space({"sparsity.a": {"_type": "choice", "_value": [0.0, 0.25, 0.5, 0.75]}})
    asked = [tuner.ask(0), tuner.ask(1)]
    tuner.tell(1, asked[1], None)
    seen = [each["sparsity.a"] for each in asked]
    seen += [tuner.ask(2)["sparsity.a"], tuner.ask(3)["sparsity.a"]]
    assert sorted(seen) == [0.0, 0.25, 0.5, 0.75]


def test_a_space_that_is_used_up_still_gets_candidates(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), rungs=False)
    tuner.update_search_space({"sparsity.a": {"_type": "choice", "_value": [0.0, 0.5]}})
    for i in range(4):
        parameters = tuner.ask(i)
        tuner.tell(i, parameters, {"accuracy": 1.0, "macs": 1 - parameters["sparsity.a"]})
    assert len([t for t in tuner.study.trials if t.state.name == "COMPLETE"]) >= 4


@pytest.mark.parametrize(
    "argument, value", [("objectives", ["accuracy", "params"]), ("sampler", "cmaes")], ids=["objectives", "scalar"]
)
def test_a_study_of_other_objectives_is_not_joined(tmp_path, argument, value):
    make(tmp_path)
    with pytest.raises(UserError, match="of the objectives accuracy, macs: name another `study`"):
        make(tmp_path, **{argument: value})
    assert make(tmp_path, **{argument: value}, study="other").study.study_name == "other"


def test_a_study_of_another_search_space_is_not_joined(tmp_path):
    search(make(tmp_path), range(1))
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), rungs=False)
    with pytest.raises(UserError, match=r"of another search space \(criterion\)"):
        tuner.update_search_space(SPACE | {"criterion": {"_type": "choice", "_value": ["level"]}})


def test_a_foreign_result_that_is_not_of_the_space_is_left_out(tmp_path):
    tuner = make(tmp_path)
    for wrong in ({"sparsity.a": 5.0}, {"criterion": "taylor"}):
        parameters = {"criterion": "fpgm", "sparsity.a": 0.3, "sparsity.b": 0.25} | wrong
        tuner.resume([(parameters, judge(parameters))])
    assert tuner.study.trials == []
