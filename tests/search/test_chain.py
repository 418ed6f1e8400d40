"""The chain of networks that are trained in full, on the synthetic problem."""

from problem import DENSE, GROUPS, SIZES, SPACE, prepared, search

from autoprune.results.candidate import Candidate
from autoprune.results.prepared import Prepared
from autoprune.search import OptunaTuner

SUPERNET = SPACE | {"schedule": {"_type": "choice", "_value": ["supernet"]}}


def run(tmp_path, trials=90, **arguments):
    tuner = OptunaTuner(storage=str(tmp_path / "optuna.journal"), seed=0, **arguments)
    tuner.update_search_space(SUPERNET)
    tuner.prepare([Prepared(DENSE, SIZES, sensitivity={}, schedule="supernet")])
    return tuner, search(tuner, range(trials))


def kept(parameters):
    return SIZES.kept({group: parameters[f"sparsity.{group}"] for group in GROUPS})


def trained(done):
    return [parameters for parameters, _ in done if parameters["budget"]]


def planned(tuner, done):
    """The networks of equal sparsities that the chain trains."""
    points = [dict(point) for point in tuner._chain.uniform]
    return [each for each in trained(done) if {k: each[k] for k in SUPERNET} in points]


def test_each_network_is_cut_from_one_that_was_trained_before_and_has_all_that_it_keeps(tmp_path):
    _, done = run(tmp_path)
    before = {}
    for parameters in trained(done):
        if "parent" in parameters:
            parent = before[parameters["parent"]]
            assert all(kept(parent)[group] >= n for group, n in kept(parameters).items())
            assert parent["criterion"] == parameters["criterion"]
        before[Candidate.from_parameters(parameters).id] = parameters
    assert sum("parent" in each for each in before.values()) > len(before) / 2


def test_the_parent_is_the_smallest_that_will_do(tmp_path):
    _, done = run(tmp_path)
    before = []
    for parameters in trained(done):
        fitting = [
            each
            for each in before
            if each["criterion"] == parameters["criterion"]
            and all(kept(each)[group] >= n for group, n in kept(parameters).items())
        ]
        smallest = min((SIZES.sizes(sparsities(each))["macs"] for each in fitting), default=None)
        parent = next((e for e in before if Candidate.from_parameters(e).id == parameters.get("parent")), None)
        assert (parent and SIZES.sizes(sparsities(parent))["macs"]) == smallest
        before.append(parameters)


def sparsities(parameters):
    return {group: parameters[f"sparsity.{group}"] for group in GROUPS}


def test_equal_sparsities_are_trained_as_long_from_large_to_small(tmp_path):
    tuner, done = run(tmp_path)
    sizes = [SIZES.sizes(sparsities(each))["macs"] for each in planned(tuner, done)]
    assert len(sizes) >= 4 and sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == SIZES.sizes({"a": 0.875, "b": 0.75, "c": 0.5})["macs"]
    assert {each["budget"] for each in trained(done)} == {2.0}


def test_equal_sparsities_take_turns_with_what_is_searched_for(tmp_path):
    tuner, done = run(tmp_path)
    uniform = planned(tuner, done)
    turns = [each in uniform for each in trained(done)]
    assert all(sum(turns[:i]) <= i / 2 + 1 for i in range(1, len(turns)))
    judged = len(done) - len(turns)
    assert sum(turns) <= judged // 3 and len(turns) - sum(turns) <= judged // 3


def test_how_long_they_are_trained_can_be_said(tmp_path):
    _, done = run(tmp_path, trials=12, recoveries=5)
    assert {each["budget"] for each in trained(done)} == {5.0}


def test_a_resumed_search_goes_on_with_the_chain(tmp_path):
    tuner, done = run(tmp_path, trials=40)
    again = OptunaTuner(storage=str(tmp_path / "other.journal"), seed=0)
    again.update_search_space(SUPERNET)
    again.prepare([Prepared(DENSE, SIZES, sensitivity={}, schedule="supernet")])
    again.resume(done)
    known = {Candidate.from_parameters(each).id for each in trained(done)}
    smallest = {"criterion": "l1_norm", "sparsity.a": 0.875, "sparsity.b": 0.75, "sparsity.c": 0.5}
    assert again._chain.parent_of(smallest, again._trained) in known
    further = trained(search(again, range(40, 60)))
    names = known | {Candidate.from_parameters(each).id for each in further}
    assert further and {each["parent"] for each in further if "parent" in each} <= names
    assert not {Candidate.from_parameters(each).id for each in further} & known


def test_a_network_of_another_search_in_the_same_study_is_nobodys_parent(tmp_path):
    _, done = run(tmp_path, trials=40)
    other, further = run(tmp_path, trials=30)
    mine = {Candidate.from_parameters(each).id for each in trained(further)}
    parents = {each["parent"] for each in trained(further) if "parent" in each}
    assert len(other.studies[1].get_trials()) == len(trained(done)) + len(trained(further))
    assert parents and parents <= mine


def test_networks_of_equal_sparsities_keep_within_the_limits_on_size(tmp_path):
    _, done = run(tmp_path, trials=60, constraints=["macs<=300K"])
    assert trained(done) and all(SIZES.sizes(sparsities(each))["macs"] <= 300_000 for each in trained(done))


def test_without_a_supernet_there_is_no_chain(tmp_path):
    tuner = OptunaTuner(storage=str(tmp_path / "optuna.journal"), seed=0)
    tuner.update_search_space(SPACE)
    tuner.prepare([prepared()])
    assert not any("parent" in parameters for parameters, _ in search(tuner, range(40)))
