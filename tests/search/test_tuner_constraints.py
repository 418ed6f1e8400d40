"""Constraints of the Optuna tuner: what is too large is never run, and the samplers learn what is allowed."""

from dataclasses import replace

import pytest
from problem import DENSE, SIZES, SPACE, judge, prepared, search

from autoprune.errors import UserError
from autoprune.results.limits import read_limits, satisfies
from autoprune.results.pareto import choose, pareto_front
from autoprune.search.forecast import Forecast, shrink
from autoprune.search.tuners.optuna.tuner import SAMPLERS, OptunaTuner

TIGHT = ["drop<=10%", "macs<=150k", "params<=4k"]


def make(tmp_path, constraints, space=SPACE, **arguments) -> OptunaTuner:
    tuner = OptunaTuner(
        storage=str(tmp_path / "study.journal"), constraints=constraints, **{"rungs": False} | arguments
    )
    tuner.update_search_space(space)
    tuner.prepare([prepared()])
    return tuner


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_what_is_run_is_never_larger_than_allowed_whatever_the_sampler_and_its_seed(tmp_path, sampler):
    for seed in range(2):
        tuner = make(tmp_path, TIGHT, sampler=sampler, seed=seed, study=f"seed {seed}")
        done = search(tuner, range(12))
        assert all(m["macs"] <= 150e3 and m["params"] <= 4e3 for _, m in done)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_the_answer_never_violates_a_constraint(tmp_path, sampler):
    limits, answers = read_limits(TIGHT), 0
    for seed in range(6):
        done = search(make(tmp_path, TIGHT, sampler=sampler, seed=seed, study=f"seed {seed}"), range(12))
        offered = {i: m for i, (_, m) in enumerate(done) if satisfies(limits, m, DENSE)}
        front = pareto_front(offered)
        if not front:
            continue
        answers += 1
        for key in (*front, choose("knee", {key: offered[key] for key in front}, DENSE, ("accuracy", "macs"))):
            metrics = judge(done[key][0])
            assert metrics["macs"] <= 150e3 and metrics["params"] <= 4e3 and metrics["accuracy"] >= 0.85 - 1e-9
    assert answers


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_sampler_learns_from_violations_that_only_a_trial_can_show(tmp_path, sampler):
    share = {}
    for name in (sampler, "random"):
        done = []
        for seed in range(2):
            done += search(make(tmp_path, ["drop<=2%"], sampler=name, seed=seed, study=f"{name} {seed}"), range(40))[
                20:
            ]
        share[name] = sum(m["accuracy"] >= 0.93 for _, m in done) / len(done)
    assert share[sampler] > share["random"]


@pytest.mark.slow
def test_the_gaussian_process_keeps_within_constraints_too(tmp_path):
    done = search(make(tmp_path, TIGHT, sampler="gp"), range(13))
    assert all(m["macs"] <= 150e3 and m["params"] <= 4e3 for _, m in done)


def test_the_study_has_each_trial_s_violations(tmp_path):
    tuner = make(tmp_path, ["drop<=2%", "macs<=300k"])
    search(tuner, range(12))
    for trial in tuner.study.trials:
        if trial.state.name == "COMPLETE":
            metrics = judge(trial.params)
            assert (trial.constraints["drop"] <= 0) == (DENSE["accuracy"] - metrics["accuracy"] <= 0.02 + 1e-9)
            assert trial.constraints["macs"] <= 0


def test_a_space_without_any_network_so_small_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="nothing in the search space keeps within macs<=1k: its smallest network has"):
        make(tmp_path, ["macs<=1k", "drop<=5%"])


def test_a_drop_needs_the_dense_accuracy(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), constraints=["drop<=1%"])
    tuner.update_search_space(SPACE)
    with pytest.raises(UserError, match="take --no-warm-start out"):
        tuner.ask(0)


def test_results_imported_before_the_dense_accuracy_is_known_are_judged_when_it_is(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), constraints=["drop<=1%"], rungs=False)
    tuner.update_search_space(SPACE)
    parameters = {"criterion": "fpgm", "sparsity.a": 0.5, "sparsity.b": 0.5, "sparsity.c": 0.5}
    tuner.resume([(parameters, judge(parameters))])
    tuner.prepare([prepared()])
    assert [trial.constraints["drop"] > 0 for trial in tuner.study.trials] == [True]


def test_sizes_that_cannot_be_foretold_are_not_refused(tmp_path):
    space = SPACE | {"criterion": {"_type": "choice", "_value": ["level"]}}
    tuner = make(tmp_path, ["params<=4k"], space=space)
    tuner.study.enqueue_trial({"criterion": "level", "sparsity.a": 0.0, "sparsity.b": 0.0, "sparsity.c": 0.0})
    assert tuner.ask(0)["sparsity.a"] == 0.0


def test_shrinking_raises_as_little_as_is_needed_along_the_grid():
    limits, known = read_limits(["macs<=300k"]), Forecast(SIZES)
    levels = {"sparsity.a": [i / 8 for i in range(8)], "sparsity.b": [0.0, 0.25, 0.5, 0.75], "sparsity.c": [0.0, 0.5]}
    start = {"criterion": "l1_norm", "sparsity.a": 0.25, "sparsity.b": 0.0, "sparsity.c": 0.0}

    def excess(parameters):
        return sum(max(0.0, v) for v in known.violations(parameters, limits).values())

    found = shrink(start, levels, excess)
    assert excess(found) == 0
    assert all(found[name] in values and found[name] >= start[name] for name, values in levels.items())
    for name, values in levels.items():
        for lower in values:
            if start[name] <= lower < found[name]:
                assert excess(found | {name: lower}) > 0
    assert shrink(start, {name: values[:1] for name, values in levels.items()}, excess) is None


def test_parameters_that_a_damaged_storage_names_are_no_known_network():
    damaged = {"criterion": "l1_norm", "sparsity.a": 6.0, "sparsity.b": 0.0, "sparsity.c": 0.0}
    assert Forecast(SIZES).size(damaged) == {}
    assert Forecast(SIZES).identity(damaged) == Forecast(SIZES).identity(dict(damaged))


def test_a_criterion_of_another_package_is_sized_as_the_preparation_says():
    space = SPACE | {"criterion": {"_type": "choice", "_value": ["their_weights"]}}
    parameters = {"criterion": "their_weights", "sparsity.a": 0.0, "sparsity.b": 0.0, "sparsity.c": 0.0}
    for unstructured, asked in (((), False), (("their_weights",), True)):
        tuner = OptunaTuner(constraints=["params<=4k"])
        tuner.update_search_space(space)
        tuner.prepare([replace(prepared(), unstructured=unstructured)])
        tuner.study.enqueue_trial(parameters)
        assert (tuner.ask(0) == parameters | {"budget": 0.111111}) is asked
