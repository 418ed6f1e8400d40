"""One sparsity for all groups of a kind: in the space, in the candidate, in every tuner."""

import numpy as np
import pytest
import yaml
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from test_space import GROUPS, Group

from autoprune.errors import UserError
from autoprune.nni.tuners import NniTuner
from autoprune.results import baselines
from autoprune.results.candidate import Candidate
from autoprune.results.prepared import Prepared
from autoprune.results.size_model import SizeModel, Term
from autoprune.search import AmcTuner, OptunaTuner
from autoprune.search.forecast import Forecast
from autoprune.search.space import build_space, check_space, space_to_yaml
from autoprune.search.tuners.amc.walk import Walk
from autoprune.search.warm_start import first_candidates

LAYERS = [Group("a.up", 64, kind="mlp"), Group("a.q", 4, kind="heads"), Group("b.up", 64, kind="mlp")]
KINDS = {group.name: group.kind for group in LAYERS}
SIZES = SizeModel(
    {group.name: group.channels for group in LAYERS},
    tuple(Term(100.0, 1000.0, ({group.name: 1.0},)) for group in LAYERS),
    kinds=KINDS,
)
SPACE = build_space(LAYERS, ["l1_norm"], ["one_shot"], tie=("mlp",))
LOSSES = {"a.up": [(0.0, 1.0), (0.5, 1.5)], "b.up": [(0.0, 1.0), (0.5, 1.25)], "a.q": [(0.0, 1.0), (0.5, 1.1)]}


def prepared(first=()) -> Prepared:
    accuracies = {name: [(x, 1.9 - y) for x, y in curve] for name, curve in LOSSES.items()}
    return Prepared({"accuracy": 0.9, "macs": 3000.0}, SIZES, accuracies, LOSSES, first=first)


def test_a_tied_space_has_one_sparsity_for_the_kind_and_says_what_it_holds():
    assert [name for name in SPACE if "sparsity" in name] == ["sparsity.a.q", "sparsity.all:mlp"]
    text = space_to_yaml(SPACE, "mine", LAYERS, {"params": 200, "macs": 100})
    assert yaml.safe_load(text) == SPACE
    assert "units of linear layers: one sparsity for 2 groups: 50% of the parameters, 50% of the MACs" in text
    check_space(SPACE, KINDS, ["l1_norm"], ["one_shot"], kinds=set(KINDS.values()))


def test_a_kind_that_the_model_has_not_is_refused_by_name():
    with pytest.raises(UserError, match="no groups to tie.*'heads': it has channels"):
        build_space(GROUPS, tie=("heads",))
    with pytest.raises(UserError, match="no groups to tie called 'hats': it has heads"):
        check_space({"sparsity.all:hats": SPACE["sparsity.all:mlp"]}, KINDS, [], [], kinds=set(KINDS.values()))
    with pytest.raises(UserError, match="sparsity.all:width ties groups.*it has heads, mlp"):
        Candidate({"all:width": 0.5}).spread(KINDS)


def test_a_candidate_gives_its_tied_groups_the_same_and_a_group_named_beside_them_its_own():
    candidate = Candidate.from_parameters({"sparsity.all:mlp": 0.5, "sparsity.b.up": 0.25, "sparsity": 0.75})
    assert Candidate.from_parameters(candidate.to_parameters()) == candidate
    spread = candidate.spread(KINDS)
    assert [spread.of(name) for name in KINDS] == [0.5, 0.75, 0.25]


def test_sizes_of_tied_candidates_are_those_of_the_same_sparsities_one_by_one():
    tied, single = {"all:mlp": 0.5, "a.q": 0.25}, {"a.up": 0.5, "b.up": 0.5, "a.q": 0.25}
    assert SIZES.sizes(tied) == SIZES.sizes(single)
    forecast = Forecast(SizeModel.from_dict(SIZES.to_dict()))
    assert forecast.size(Candidate(tied).to_parameters()) == SIZES.sizes(single)
    assert forecast.identity(Candidate(tied).to_parameters()) == forecast.identity(Candidate(single).to_parameters())


def test_first_candidates_of_a_tied_search_lie_in_its_space():
    dense = baselines.preparations("autoprune trial mine", SPACE)
    template = Candidate.from_parameters(dense[0])
    assert template.ties == ("mlp",)
    found = first_candidates(SIZES, LOSSES, [{"a.up": 0.5, "b.up": 0.25, "a.q": 0.5}], template)
    assert len(found) >= 5
    assert all({name for name in each if "sparsity" in name} == {"sparsity.a.q", "sparsity.all:mlp"} for each in found)


def tuners(folder):
    yield OptunaTuner(seed=0, storage=str(folder / "journal"), rungs=False)
    yield AmcTuner(storage=str(folder / "amc"), warmup=2)
    yield NniTuner(TpeTuner("maximize", seed=0))


def test_every_tuner_proposes_tied_candidates_and_learns_from_them(tmp_path):
    for tuner in tuners(tmp_path):
        space = {name: entry for name, entry in SPACE.items() if "sparsity" in name}
        tuner.update_search_space(space)
        if hasattr(tuner, "prepare"):
            tuner.prepare([prepared()])
        proposed = []
        for number in range(4):
            parameters = dict(tuner.ask(number))
            candidate = Candidate.from_parameters(parameters).spread(KINDS)
            assert candidate.of("a.up") == candidate.of("b.up") == parameters["sparsity.all:mlp"]
            proposed.append(candidate.of("a.up"))
            accuracy = 0.9 - 0.2 * candidate.of("a.up")
            tuner.tell(number, parameters, {"accuracy": accuracy, "macs": 1e3, "default": accuracy})
        assert len(set(proposed)) > 1


def test_optuna_learns_from_the_uniform_baseline_but_not_from_sparsities_of_single_groups():
    from optuna.distributions import FloatDistribution

    from autoprune.search.tuners.optuna.points import point_of

    space = {name: FloatDistribution(0, 0.875, step=0.125) for name in SPACE if "sparsity" in name}
    assert point_of(Candidate(uniform=0.5), space) == {"sparsity.a.q": 0.5, "sparsity.all:mlp": 0.5}
    assert point_of(Candidate({"a.up": 0.5, "b.up": 0.25}), space) is None


def test_a_walk_over_ties_meets_its_target():
    walk = Walk(SIZES, {name: entry for name, entry in SPACE.items() if "sparsity" in name}, LOSSES)
    rng = np.random.default_rng(0)
    for target in (0.3, 0.6, 0.9):
        assert walk.fraction(walk.go(target, lambda state: rng.uniform(-1, 1))) <= target * (1 + 1e-6)
