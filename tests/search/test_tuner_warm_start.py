"""What was learnt before the search is tried first, and candidates that keep the same channels are one candidate."""

import pytest
from problem import SPACE, judge, prepared, search

from autoprune.search.tuners.optuna.tuner import OptunaTuner

FIRST = [
    {"criterion": "l1_norm", "schedule": "one_shot", "sparsity.a": 0.5, "sparsity.b": 0.5, "sparsity.c": 0.5},
    {"criterion": "l1_norm", "schedule": "one_shot", "sparsity.a": 0.77, "sparsity.b": 0.9, "sparsity.c": 0.1},
    {"criterion": "fpgm", "schedule": "one_shot", "sparsity.a": 0.25},
]
POINTS = [
    {"criterion": "l1_norm", "sparsity.a": 0.5, "sparsity.b": 0.5, "sparsity.c": 0.5},
    {"criterion": "l1_norm", "sparsity.a": 0.75, "sparsity.b": 0.75, "sparsity.c": 0.0},
    {"criterion": "fpgm", "sparsity.a": 0.25, "sparsity.b": 0.0, "sparsity.c": 0.0},
]


def make(tmp_path, space=SPACE, first=FIRST, **arguments) -> OptunaTuner:
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), **{"rungs": False} | arguments)
    tuner.update_search_space(space)
    tuner.prepare([prepared(first)])
    return tuner


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes", "random"])
def test_the_first_candidates_come_first_on_the_grid_of_the_space(tmp_path, sampler):
    done = search(make(tmp_path, sampler=sampler), range(6))
    assert [parameters for parameters, _ in done[:3]] == POINTS
    assert all(parameters not in POINTS for parameters, _ in done[3:])


def test_those_of_every_preparation_come_each_once(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), rungs=False)
    tuner.update_search_space(SPACE)
    tuner.prepare([prepared(FIRST[:2]), prepared([FIRST[0], FIRST[2], FIRST[0] | {"sparsity.a": 0.51}])])
    assert [parameters for parameters, _ in search(tuner, range(3))] == POINTS
    assert tuner.ask(3) not in POINTS


@pytest.mark.parametrize(
    "wrong",
    [{"criterion": "taylor"}, {"schedule": "supernet"}, {"criterion": "level"}],
    ids=["criterion", "schedule", "unstructured"],
)
def test_candidates_of_a_kind_that_the_space_does_not_have_are_left_out(tmp_path, wrong):
    tuner = make(tmp_path, first=[FIRST[0] | wrong, FIRST[2]])
    assert tuner.ask(0) == POINTS[2]


def test_groups_that_the_space_leaves_whole_stay_whole(tmp_path):
    space = {name: entry for name, entry in SPACE.items() if name != "sparsity.b"}
    parameters = make(tmp_path, space).ask(0)
    assert parameters == {"criterion": "l1_norm", "sparsity.a": 0.5, "sparsity.c": 0.5}


def test_a_space_of_one_number_takes_equal_sparsities(tmp_path):
    space = {"sparsity": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]}}
    tuner = make(tmp_path, space, [FIRST[1], FIRST[0]])
    assert tuner.ask(0) == {"sparsity": 0.5}


def test_candidates_known_to_be_too_large_are_not_tried_first(tmp_path):
    tuner = make(tmp_path, constraints=["macs<=200k"])
    assert tuner.ask(0) == POINTS[0]
    assert tuner.ask(1) == POINTS[1]
    assert tuner.ask(2) != POINTS[2]


def test_a_resumed_study_does_not_try_them_again(tmp_path):
    search(make(tmp_path), range(2))
    again = make(tmp_path)
    assert again.ask(0) == POINTS[2]
    assert again.ask(1) not in POINTS


def test_sparsities_that_keep_the_same_channels_are_not_run_twice(tmp_path):
    space = {"sparsity.c": {"_type": "uniform", "_value": [0.0, 0.9]}}  # 16 channels, kept in multiples of 8
    tuner = make(tmp_path, space, first=[], sampler="random")
    kept = [8 if parameters["sparsity.c"] >= 0.25 else 16 for parameters, _ in search(tuner, range(2))]
    assert sorted(kept) == [8, 16]


def test_what_keeps_the_same_channels_is_told_the_same_result(tmp_path):
    tuner = make(tmp_path, first=[], space=SPACE | {"sparsity.c": {"_type": "choice", "_value": [0.5, 0.6]}})
    point = {"criterion": "fpgm", "sparsity.a": 0.5, "sparsity.b": 0.25, "sparsity.c": 0.5}
    tuner.study.enqueue_trial(point)
    tuner.tell(0, tuner.ask(0), judge(point))
    tuner.study.enqueue_trial(point | {"sparsity.c": 0.6})
    tuner.ask(1)
    first, second = tuner.study.trials[:2]
    assert (second.state.name, second.values) == ("COMPLETE", first.values)
