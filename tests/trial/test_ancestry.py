"""Candidates that are cut from another candidate's recovered network, on real digits."""

from dataclasses import replace

import pytest
import torch

from autoprune.errors import TrialFailure, UserError
from autoprune.results.candidate import Candidate
from autoprune.results.settings import TrialCommand
from autoprune.supernet import supernet
from autoprune.trial.ancestry import Parent, find_parent
from autoprune.trial.record import execute
from autoprune.trial.run import run_trial

SETTINGS = TrialCommand(task="digits")
HALF = Candidate(uniform=0.5, budget=1.0)


def recorded(digits, folder, candidate=HALF):
    task, data, dense = digits
    folder.mkdir(parents=True)
    channels = {group.name: group.channels for group in dense.groups}
    return execute(SETTINGS, digits, channels, candidate, folder, lambda quality: None)


def untrained(digits):
    task, data, dense = digits
    recovery = replace(task.recovery, steps=0, bn_reestimation=0)
    return replace(task, recovery=recovery), data, dense


def test_a_child_has_its_parents_weights_less_the_channels_that_it_loses(digits, tmp_path):
    recorded(digits, tmp_path / "t0")
    task, data, dense = untrained(digits)
    parent = find_parent(task, HALF.id, tmp_path)
    child = Candidate(uniform=0.75, budget=1.0, parent=HALF.id)
    found = run_trial(task, child, data, dense, parent=parent)
    assert found.kept == {"stem.0": 8, "block.0.0": 8, "down.0": 16, "hidden": 16}
    order = supernet.order(task, data, dense.model, dense.groups, "l1_norm")
    kept = sorted(order["stem.0"][-16:])
    rows = [kept.index(channel) for channel in sorted(order["stem.0"][-8:])]
    assert torch.equal(found.model.stem[0].weight, parent.model.stem[0].weight[rows])


def test_what_a_child_keeps_does_not_depend_on_its_parent(digits, tmp_path):
    recorded(digits, tmp_path / "t0", replace(HALF, budget=0.0))
    task, data, dense = untrained(digits)
    child = Candidate({"down.0": 0.75}, 0.5, budget=1.0)
    alone = run_trial(task, child, data, dense)
    cut = run_trial(
        task, replace(child, parent=replace(HALF, budget=0.0).id), data, dense, parent=find(digits, tmp_path)
    )
    assert torch.equal(alone.model.down[0].weight, cut.model.down[0].weight)


def find(digits, folder):
    return find_parent(digits[0], replace(HALF, budget=0.0).id, folder)


def test_a_child_is_trained_on_for_as_many_recoveries_as_its_budget_says(digits, tmp_path, monkeypatch):
    from autoprune.trial import run as module

    recorded(digits, tmp_path / "t0")
    seen = []
    monkeypatch.setattr(module.loop, "train", lambda task, model, data, recipe, *a, **k: seen.append(recipe.steps))
    task, data, dense = digits
    parent = find_parent(task, HALF.id, tmp_path)
    run_trial(task, Candidate(uniform=0.75, budget=2.5, parent=HALF.id), data, dense, parent=parent)
    assert seen == [round(2.5 * task.recovery.steps)]


def test_a_child_cannot_keep_what_its_parent_lacks(digits, tmp_path):
    recorded(digits, tmp_path / "t0")
    task, data, dense = digits
    parent = find_parent(task, HALF.id, tmp_path)
    with pytest.raises(TrialFailure, match="lacks what the candidate keeps"):
        run_trial(task, Candidate({"stem.0": 0.25}, 0.75, parent=HALF.id), data, dense, parent=parent)


@pytest.mark.parametrize("how", [{"criterion": "level"}, {"schedule": "lottery_ticket"}])
def test_only_whole_channels_of_a_trained_network_are_cut_from_a_parent(digits, how):
    task, data, dense = digits
    with pytest.raises(UserError, match="is cut from the network of another"):
        run_trial(
            task, Candidate(uniform=0.75, parent=HALF.id, **how), data, dense, parent=Parent(dense.model, {}, HALF)
        )


def test_a_parent_that_is_not_there_is_a_failed_trial(digits, tmp_path):
    with pytest.raises(TrialFailure, match=f"no trial of this search has the network of parent {HALF.id}"):
        recorded(digits, tmp_path / "t0", Candidate(uniform=0.75, parent=HALF.id))


def test_a_damaged_record_of_another_trial_does_not_matter(digits, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text("{")
    recorded(digits, tmp_path / "t0")
    assert find_parent(digits[0], HALF.id, tmp_path).kept["stem.0"] == 16


def test_a_parent_is_part_of_a_candidates_name_and_parameters():
    child = Candidate(uniform=0.75, parent=HALF.id)
    assert Candidate.from_parameters(child.to_parameters()) == child
    assert child.id != Candidate(uniform=0.75).id
    assert "parent" not in HALF.to_parameters()
