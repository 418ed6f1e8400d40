"""First candidates from an additive model of the loss."""

from itertools import product

import pytest

from autoprune.results.candidate import Candidate
from autoprune.results.size_model import SizeModel, Term
from autoprune.search.warm_start import first_candidates, predicted_front

CHANNELS = {"cheap": 32, "dear": 32, "useless": 32}
SIZES = SizeModel(CHANNELS, tuple(Term(100.0, 1000.0, ({name: 1.0},)) for name in CHANNELS))
LOSSES = {
    "cheap": [(0.0, 1.0), (0.25, 1.1), (0.5, 1.2), (0.75, 1.4)],
    "dear": [(0.0, 1.0), (0.25, 2.0), (0.5, 4.0), (0.75, 9.0)],
    "useless": [(0.0, 1.0), (0.25, 1.0), (0.5, 0.9), (0.75, 1.0)],
}


def loss(sparsity):
    return sum(dict(LOSSES[name])[value] - 1 for name, value in sparsity.items())


def test_predicted_candidates_lie_on_the_front_that_all_combinations_have():
    levels = SIZES.levels("cheap")
    everything = [dict(zip(CHANNELS, chosen, strict=True)) for chosen in product(levels, repeat=3)]
    found = predicted_front(SIZES, LOSSES, points=5)
    assert len(found) >= 4
    for candidate in found:
        macs, cost = SIZES.sizes(candidate)["macs"], loss(candidate)
        better = [e for e in everything if SIZES.sizes(e)["macs"] <= macs and loss(e) < cost - 0.11]
        assert not better  # what seemed to get better with less is taken to be noise, which costs up to 0.1


def test_what_costs_nothing_goes_first_and_what_costs_most_last():
    largest, *_, smallest = predicted_front(SIZES, LOSSES, points=6)
    assert largest["useless"] >= 0.5 and largest["dear"] == 0
    assert smallest == {"cheap": 0.75, "dear": 0.75, "useless": 0.75}


def test_first_candidates_are_different_networks_and_a_few_of_them_cover_all_sizes():
    erk = {"cheap": 0.5, "dear": 0.25, "useless": 0.5}
    found = first_candidates(
        SIZES, LOSSES, [erk, erk], Candidate(criterion="fpgm", schedule="supernet", blocks={"b": 0})
    )
    candidates = [Candidate.from_parameters(parameters) for parameters in found]
    assert len({tuple(SIZES.kept(c.sparsity).values()) for c in candidates}) == len(candidates) > 6
    assert all((c.criterion, c.schedule, c.blocks) == ("fpgm", "supernet", {"b": 0}) for c in candidates)
    macs = [SIZES.sizes(c.sparsity)["macs"] / 3000 for c in candidates]
    assert min(macs[:6]) < 0.3 and max(macs[:6]) > 0.7
    assert sum(c.sparsity == erk for c in candidates) == 1


def test_the_most_dispensable_blocks_go_first():
    template = Candidate(schedule="supernet", blocks={"a": 0, "b": 0, "c": 0, "d": 0})
    found = [
        Candidate.from_parameters(each) for each in first_candidates(SIZES, LOSSES, [], template, ["c", "a", "d", "b"])
    ]
    assert {each.dropped for each in found} == {(), ("c",), ("a", "c")}
    assert any(each.dropped and not any(each.sparsity.values()) for each in found)
    assert any(each.dropped and any(each.sparsity.values()) for each in found)


def test_groups_that_were_not_probed_stay_whole():
    found = predicted_front(SIZES, {"cheap": LOSSES["cheap"]})
    assert found and all(set(candidate) == {"cheap"} for candidate in found)
    assert SIZES.sizes(found[-1])["macs"] == pytest.approx(2250)
