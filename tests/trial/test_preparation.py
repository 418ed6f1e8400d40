"""Before a search and after it: sensitivities, first candidates, recipes, the recovered front."""

from dataclasses import replace

import pytest
import torch
from tiny import make_groups, make_task
from torch.utils.data import DataLoader, Dataset

import autoprune
from autoprune.errors import UserError
from autoprune.finalize import fine_tuning, lineage
from autoprune.finalize.choice import choose_trial, members
from autoprune.finalize.finish import Options, finish
from autoprune.results.candidate import Candidate
from autoprune.results.fine_tuned import FineTuned
from autoprune.results.network import read_network
from autoprune.results.prepared import FILE, Prepared
from autoprune.results.settings import TrialCommand
from autoprune.train import evaluation, loading
from autoprune.trial import recipe_search as recipe
from autoprune.trial import sensitivity
from autoprune.trial.preparation import prepare_search
from autoprune.trial.record import execute


def test_the_dense_models_trial_writes_down_what_a_tuner_may_know(digits, tmp_path):
    settings, channels = TrialCommand("digits"), {g.name: g.channels for g in digits[2].groups}
    candidate = Candidate(schedule="supernet", baseline="dense")
    metrics = execute(settings, digits, channels, candidate, tmp_path, lambda accuracy: None)
    assert metrics["accuracy"] == digits[2].measures["accuracy"]
    assert metrics["macs"] == digits[2].measures["macs"]

    prepared = Prepared.read(tmp_path / FILE)
    assert set(prepared.sensitivity) == set(prepared.losses) == set(channels)
    assert prepared.sizes.sizes({})["params"] == digits[2].measures["params"]
    for curve in prepared.sensitivity.values():
        assert curve[0][0] == 0 and all(a[0] < b[0] for a, b in zip(curve, curve[1:], strict=False))
    assert all(Candidate.from_parameters(p).schedule == "supernet" for p in prepared.first)
    network = read_network(tmp_path)
    assert network.channels == channels
    assert sum(params for _, params, _ in network.kept(channels)) == digits[2].measures["params"]


def test_a_probe_is_not_done_twice(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path))  # other tests' probes are in the common one

    def probes():
        return {file: file.stat().st_mtime_ns for file in (tmp_path / "probe").glob("*.json")}

    task, data, dense = digits
    first = prepare_search(task, data, dense, Candidate())
    before = probes()
    assert prepare_search(task, data, dense, Candidate()).to_dict() == first.to_dict()
    assert probes() == before and len(before) == 1
    prepare_search(task, data, dense, Candidate(criterion="fpgm"))
    assert len(probes()) == 2


def test_the_recipe_search_prefers_what_recovers_and_remembers_it(digits, cached):
    task, data, dense = digits
    task = replace(task, recovery=replace(task.recovery, learning_rate=2e-4))  # far too small for twenty steps
    tried = recipe.search_recipe(task, data, dense, trials=5)
    own = next(each for each in tried if each.recipe["learning_rate"] == 2e-4)
    assert len(tried) == 5 and tried[0].quality > own.quality and tried[0].recipe["learning_rate"] > 2e-4
    assert recipe.with_best_recipe(task, tried).recovery.learning_rate == tried[0].recipe["learning_rate"]
    before = cached("recipe")
    assert recipe.search_recipe(task, data, dense, trials=5) == tried
    assert before.items() <= cached("recipe").items()  # other tests add theirs meanwhile


@pytest.fixture
def search(digits, tmp_path):
    return autoprune.run_search(digits[0], trials=6, baselines=False, folder=tmp_path / "search")


def test_the_front_is_fine_tuned_with_several_seeds_and_one_of_them_is_taken_home(search, tmp_path):
    final = finish(search, "knee", tmp_path / "out", Options(("onnx",), whole_front=True), search.loaded)
    assert set(final.fine_tuned) == {trial.id for trial in members(search.front())}
    for each in final.fine_tuned.values():
        assert len(each.validation) == len(each.test) == 3
        one, other = (torch.load(each.file.with_name(f"{each.file.stem[:-1]}{i}.pt")) for i in (1, 2))
        assert not torch.equal(one["head.weight"], other["head.weight"])
    _, data, _ = search.loaded
    best = final.fine_tuned[final.chosen.id]
    model = autoprune.export.load_pruned(search.loaded[0], best.file)
    assert evaluation.quality(search.loaded[0], model, data.validation) == max(best.validation)
    assert final.test_quality == best.test[best.validation.index(max(best.validation))]

    before = best.file.stat().st_mtime_ns
    again = finish(search, final.chosen.id, tmp_path / "again", Options(("onnx",)), search.loaded)
    assert again.test_quality == final.test_quality
    assert best.file.stat().st_mtime_ns == before


def test_the_choice_goes_by_what_the_recovered_networks_are_and_keeps_within_the_constraints(search):
    front = members(search.front())
    for trial, accuracy in zip(front, (0.5, 0.9, 0.8, *[0.1] * len(front)), strict=False):
        known = fine_tuning.fine_tuned_of(search)
        found = FineTuned(trial.measures["accuracy"], (accuracy, accuracy), (0.5, 0.5), trial.model_file, 1)
        fine_tuning.write_fine_tuned(search.folder, known | {trial.id: found})
    expected = front[1] if len(front) > 1 else front[0]
    assert choose_trial(search, "macs<=100M")[0] is expected
    del search.__dict__["constraints"]
    search.config["tuner"]["classArgs"]["constraints"] = ["accuracy>=0.95"]
    with pytest.raises(UserError, match="^no trial"):
        choose_trial(search, "macs<=100M")


def test_a_fine_tuning_that_diverges_leaves_the_network_as_it_was_judged(search):
    task, data, dense = search.loaded
    trial = next(trial for trial in search.front() if not lineage.is_complete(trial))
    wild = replace(task, recovery=replace(task.recovery, learning_rate=1e12))
    (found,) = fine_tuning.fine_tune_all(search, (wild, data, dense), [trial], seeds=2).values()
    assert found.file == trial.model_file and set(found.validation) == {trial.measures["accuracy"]}


def test_two_processes_find_what_one_finds(search):
    front = members(search.front())[:2]
    one = fine_tuning.fine_tune_all(search, search.loaded, front, seeds=2)
    (search.folder / "recovered.json").unlink()
    two = fine_tuning.fine_tune_all(search, search.loaded, front, seeds=2, processes=2)
    assert one == two


def test_a_candidate_on_two_rungs_is_fine_tuned_once(search):
    low = next(trial for trial in search.candidates if trial.parameters["budget"] == 0)
    high = replace(low, id="high", parameters=low.parameters | {"budget": 1.0})
    assert members([low, high]) == members([high, low]) == [high]
    assert lineage.is_complete(high) and not lineage.is_complete(low)


def test_repeats_differ_in_their_own_training_alone(digits):
    task, data, dense = digits
    candidate = Candidate({"stem.0": 0.5}, schedule="supernet", budget=1.0)
    models = [autoprune.trial.run.run_trial(task, candidate, data, dense, repeat=repeat).model for repeat in (0, 0, 1)]
    weights = [model.head.weight for model in models]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


class Counted(Dataset):
    """Examples that say how often they were read."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        self.read += 1
        return self.data[i]


def test_a_probe_reads_each_example_once_however_many_groups_there_are():
    task, data, dense = make_task()
    train, validation = Counted(data.train), Counted(data.validation)
    counted = data._replace(train=DataLoader(train, 16), validation=DataLoader(validation, 16))
    groups = make_groups(dense, task)
    task = replace(task, recovery=replace(task.recovery, bn_reestimation=2))
    found = sensitivity.probe(task, counted, dense.model, dense.model, groups, "group_norm")
    assert (train.read, validation.read) == (32, len(data.validation))
    assert sum(map(len, found.quality.values())) > 2 * len(groups)


def test_what_does_not_fit_into_memory_is_read_anew():
    _, data, _ = make_task()
    loader = DataLoader(data.train, 16)
    assert loading.read_once(loader, 16, most=100) is loader and loading.read_once(data.train, 16) is data.train
    kept = loading.read_once(loader, 16)
    first, again = next(iter(kept)), next(iter(kept))
    first[0].zero_()
    assert torch.equal(again[0], data.train.tensors[0][:16]) and torch.equal(next(iter(kept))[0], again[0])
