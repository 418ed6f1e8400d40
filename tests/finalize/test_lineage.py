"""Networks that a search with a chain judged cheaply are trained to the end as those of the chain were."""

from dataclasses import replace

import pytest

from autoprune.finalize.fine_tuning import fine_tune_all
from autoprune.finalize.lineage import in_full, is_complete
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Trial


@pytest.fixture
def search(digits_search, tmp_path):
    return replace(digits_search, folder=tmp_path)


def kept(trial: Trial) -> dict[str, int]:
    return trial.record["kept"]


def by_id(search):
    return {Candidate.from_parameters(trial.parameters).id: trial for trial in search.candidates}


def test_what_the_search_trained_in_full_is_trained_so_again(search):
    trained = [trial for trial in search.candidates if is_complete(trial)]
    assert trained and all(in_full(search, each) == Candidate.from_parameters(each.parameters) for each in trained)


def test_what_it_judged_untrained_is_cut_from_the_smallest_network_that_has_all_of_it(search):
    untrained = [trial for trial in search.candidates if not is_complete(trial)]
    trained = [trial for trial in search.candidates if is_complete(trial)]
    found = {trial.id: in_full(search, trial) for trial in untrained}
    assert {each.budget for each in found.values()} == {2.0} and any(each.parent for each in found.values())
    for trial in untrained:
        fitting = [one for one in trained if all(kept(one)[name] >= n for name, n in kept(trial).items())]
        smallest = min((one.metrics["macs"] for one in fitting), default=None)
        parent = by_id(search).get(found[trial.id].parent)
        assert (parent and parent.metrics["macs"]) == smallest


def test_its_fine_tuning_begins_at_that_network(search):
    trial = next(t for t in search.candidates if not is_complete(t) and in_full(search, t).parent)
    (found,) = fine_tune_all(search, search.loaded, [trial], seeds=1).values()
    assert found.steps == 2 * search.loaded[0].recovery.steps and not found.failures
    assert found.validation[0] > 0.9
