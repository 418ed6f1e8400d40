from dataclasses import replace

import pytest
import torch
from torch import nn

from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.results.measures import METRICS, Metric
from autoprune.train import loop, metrics


def test_a_second_call_takes_the_trained_model_from_the_cache(digits, monkeypatch):
    task, data, first = digits
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained again"))
    second = dense.load_or_train(task, data)
    assert second.measures == first.measures
    assert torch.equal(second.model.hidden.weight, first.model.hidden.weight)


def test_another_recipe_or_seed_is_another_model(digits):
    task, data, first = digits
    shorter = replace(task, training=replace(task.training, steps=2))
    assert dense.load_or_train(shorter, data).key != first.key
    assert dense.load_or_train(shorter, data, seed=1).key != dense.load_or_train(shorter, data).key


def test_another_way_to_compute_a_packages_metric_is_another_model(digits, monkeypatch):
    task, data, _ = digits
    model = task.build()

    def key(meter, metric, **of_task):
        monkeypatch.setitem(metrics.METERS._loaded, metric.name, meter)
        monkeypatch.setitem(metrics.METERS._places, metric.name, "a_package:Meter")
        return dense.training_key(replace(task, metric=metric, **of_task), data, model, 0, False)

    mine = Metric("of_a_package", form="percent")
    assert key(lambda task: metrics.Accuracy(task), mine) != key(lambda task: metrics.Classified(task), mine)
    judge = {"evaluate": lambda model, batches: {"of_a_package": 1.0}}  # the task computes it by itself
    assert key(metrics.Accuracy, mine, **judge) == key(metrics.Classified, mine, **judge)
    for metric in (METRICS["accuracy"], METRICS["F1"]):  # which came before: what is cached is found
        assert key(metrics.Accuracy, metric) == key(metrics.Classified, metric)


def test_a_checkpoint_takes_the_place_of_training(digits, tmp_path, monkeypatch):
    task, data, first = digits
    torch.save(first.model.state_dict(), tmp_path / "mine.pt")
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    found = dense.load_or_train(task, data, tmp_path / "mine.pt")
    assert torch.equal(found.model.hidden.weight, first.model.hidden.weight)


def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(digits, tmp_path):
    task, data, first = digits
    state = first.model.state_dict()
    torch.save({**state, "hidden.weight": torch.zeros(3, 3)}, tmp_path / "wrong.pt")
    with pytest.raises(UserError, match="does not fit the model of task digits: size mismatch for hidden.weight") as e:
        dense.load_or_train(task, data, tmp_path / "wrong.pt")
    assert "\n" not in str(e.value)


def test_a_checkpoint_that_would_run_code_is_refused(digits, tmp_path):
    torch.save(digits[2].model, tmp_path / "pickled.pt")
    with pytest.raises(UserError, match="not a plain state dict"):
        dense.load_or_train(*digits[:2], tmp_path / "pickled.pt")


WRAPPED = {
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "model": lambda state: {"model": state, "args": None},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled, then distributed": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {
        "state_dict": {f"model.{name}": value for name, value in state.items()} | {"loss.weight": torch.ones(10)},
        "pytorch-lightning_version": "2.5",
    },
}


def test_a_checkpoint_that_is_missing_is_refused_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"checkpoint nets/own.pt does not exist \(looked in {tmp_path}\)"):
        dense.load_checkpoint(nn.Linear(2, 2), "nets/own.pt", "own")


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_state_dict_is_found_within_a_checkpoint_and_behind_a_prefix(digits, tmp_path, wrap):
    task, _, first = digits
    torch.save(wrap(first.model.state_dict()), tmp_path / "wrapped.pt")
    model = task.build(1)
    dense.load_checkpoint(model, tmp_path / "wrapped.pt", "digits")
    assert all(torch.equal(value, first.model.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_model_whose_own_names_begin_with_a_prefix_keeps_them(tmp_path):
    model = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    torch.save(model.state_dict(), tmp_path / "own.pt")
    dense.load_checkpoint(model, tmp_path / "own.pt", "own")


def test_a_missing_checkpoint_is_refused(digits, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        dense.load_or_train(*digits[:2], tmp_path / "none.pt")


def test_the_initial_weights_of_a_checkpoint_are_unknown_unless_they_are_given(digits, tmp_path):
    task, data, first = digits
    torch.save(first.model.state_dict(), tmp_path / "mine.pt")
    torch.save(task.build(5).state_dict(), tmp_path / "first.pt")
    assert dense.load_or_train(task, data, tmp_path / "mine.pt").initial is None
    found = dense.load_or_train(task, data, tmp_path / "mine.pt", initial=tmp_path / "first.pt")
    assert torch.equal(found.initial["hidden.weight"], task.build(5).hidden.weight)
    assert torch.equal(found.model.hidden.weight, first.model.hidden.weight)
    with pytest.raises(UserError, match="does not exist"):
        dense.load_or_train(task, data, tmp_path / "mine.pt", initial=tmp_path / "none.pt")
