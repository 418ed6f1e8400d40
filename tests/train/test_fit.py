"""Data that AutoPrune cannot train on is refused in one line with its shapes, before anything is trained."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import autoprune
from autoprune import cli
from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.task.task import Splits, Task
from autoprune.train import loop
from autoprune.train.fit import check_data

X = torch.randn(12, 3, 8, 8)
Y = torch.arange(12) % 4


def classifier() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(16 * 36, 4))


class Dicts(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, i):
        return {"pixels": X[i], "label": int(Y[i])}


class Ragged(Dicts):
    def __getitem__(self, i):
        return torch.zeros(i + 1), 0


def task_on(x=X, y=Y, model=classifier, data=None, **changes) -> Task:
    splits = Splits(*[data if data is not None else TensorDataset(x, y)] * 3)
    return Task("odd", model, lambda: splits, torch.zeros(1, 3, 8, 8), **changes)


REFUSED = {
    "regression": (task_on(y=torch.rand(12)), r"labels are of shape \(4,\) and type float32 .* targets of regression"),
    "regression in columns": (
        task_on(y=torch.rand(12, 1)),
        r"shape \(4, 1\) .* targets of regression: give the task a",
    ),
    "one-hot": (task_on(y=nn.functional.one_hot(Y)), r"shape \(4, 4\) .* one-hot labels \(use labels.argmax\(1\)\)"),
    "several labels": (
        task_on(y=torch.ones(12, 4).long()),
        r"shape \(4, 4\) .* give the task a loss\(outputs, batch\)",
    ),
    "out of range": (task_on(y=Y + 1), "labels go from 1 to 4, but the model has 4 outputs: labels are 0 to 3"),
    "negative": (task_on(y=Y - 1), "labels go from -1 to 2"),
    "other names": (task_on(data=Dicts()), r"a dictionary of pixels, label: TypeError.*; .* forward\(model, batch\)"),
    "ragged": (task_on(data=Ragged()), "examples cannot be read as a batch: RuntimeError"),
    "empty": (task_on(X[:0], Y[:0]), "train split: it is empty"),
    "not data": (task_on(data=iter([1])), "has no length"),
    "other inputs": (task_on(x=X[:, :2]), r"cannot take a batch, 2 parts \(of shape \(4, 2, 8, 8\) and type float32"),
    "NaN": (task_on(x=X.masked_fill(X[11, 0, 0, 0] == X, float("nan"))), "train split: NaN is among its inputs"),
    "an infinite loss": (
        task_on(loss=lambda o, batch: nn.functional.cross_entropy(o, batch[1]) / 0),
        "the loss of the first batch is inf",
    ),
    "loss of no gradient": (
        task_on(loss=lambda o, batch: torch.tensor(1.0)),
        "one number with a gradient, not of shape",
    ),
    "a loss for each": (
        task_on(loss=lambda o, batch: nn.CrossEntropyLoss(reduction="none")(o, batch[1])),
        r"one number .* not of shape \(4,\)",
    ),
    "a loss that fails": (task_on(loss=nn.BCELoss()), r"no loss for a batch, 2 parts \(of shape \(4, 3, 8, 8\)"),
    "a loss of labels": (
        task_on(loss=nn.CrossEntropyLoss()),
        r"a loss takes the batch since version 0.2, not the labels",
    ),
    "no metric": (
        task_on(evaluate=lambda model, batches: {"F1": 1.0}),
        "validation split: evaluate must return its metric accuracy by name, not F1",
    ),
    "no number": (task_on(evaluate=lambda model, batches: {"accuracy": "x"}), "returns 'x' as accuracy: no number"),
    "an unknown one": (task_on(metric=autoprune.Metric("dice")), r"nobody computes its metric dice: give it evaluate"),
    "another's metric": (task_on(metric="rmse"), r"its metric rmse is for as many numbers as labels"),
    "a loader that is empty": (task_on(data=DataLoader(TensorDataset(X[:0], Y[:0]))), "train split: it is empty"),
}


def segmenter() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1))


ACCEPTED = {
    "masks": task_on(y=torch.zeros(12, 8, 8).long(), model=segmenter),
    "three parts": task_on(data=TensorDataset(X, Y, Y)),
    "a tuple of outputs": task_on(model=lambda: Pair()),
    "a loader": task_on(data=DataLoader(TensorDataset(X, Y), 3)),
    "dictionaries": task_on(data=Dicts(), forward=lambda model, batch: model(batch["pixels"])),
}


@pytest.mark.parametrize("task", ACCEPTED.values(), ids=ACCEPTED)
def test_what_can_be_trained_on_is_taken(task):
    assert check_data(task, task.splits(), task.build()) == []


def test_that_nothing_is_learnt_from_the_dense_models_outputs_is_said():
    task = task_on(
        y=torch.ones(12, 4).long(),
        loss=lambda outputs, batch: nn.functional.multilabel_soft_margin_loss(outputs, batch[1]),
        evaluate=lambda model, batches: {"accuracy": 1.0},
    )
    (note,) = check_data(task, task.splits(), task.build())
    assert "nothing is learnt from the dense model's outputs" in note and "give the task a distill" in note


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = classifier()

    def forward(self, x):
        return self.net(x), x


@pytest.mark.parametrize(("task", "message"), REFUSED.values(), ids=REFUSED)
def test_data_that_cannot_be_trained_on_is_refused_in_one_line(task, message, monkeypatch):
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(UserError, match=message) as caught:
        dense.load_or_train(task, task.data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", Splits._fields)
def test_every_split_is_looked_at(split):
    task = task_on()
    data = task.data()._replace(**{split: TensorDataset(X[:0], Y[:0])})
    with pytest.raises(UserError, match=f"task odd, {split} split: it is empty"):
        dense.load_or_train(task, data)


def test_what_is_no_splits_is_refused():
    task = replace(task_on(), data=lambda: [TensorDataset(X, Y)])
    with pytest.raises(UserError, match=r"data\(\) must return autoprune.Splits"):
        dense.load_or_train(task, task.data())


def test_the_look_changes_neither_the_model_nor_the_random_numbers():
    task, model = task_on(), classifier()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    check_data(task, task.data(), model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model.training


SEGMENTATION = """
import torch, autoprune
from torch.utils.data import TensorDataset
def data():
    return autoprune.Splits(*[TensorDataset(torch.randn(8, 3, 8, 8), torch.zeros(8, 8, 8))] * 3)
def net():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.Conv2d(16, 4, 3, padding=1))
task = autoprune.Task("masks", net, data, torch.zeros(1, 3, 8, 8))
"""


@pytest.mark.parametrize(
    "command", [("recipe",), ("sensitivity",), ("groups", "--sensitivity"), ("run",)], ids=" ".join
)
def test_every_command_refuses_it(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "masks.py").write_text(SEGMENTATION)
    (tmp_path / "masks.yaml").write_text(
        "experimentName: masks\ntrialCommand: autoprune trial masks.py\ntrialCodeDirectory: .\ntrialConcurrency: 1\n"
        "maxTrialNumber: 2\nsearchSpace: {sparsity.0: {_type: uniform, _value: [0, 0.5]}}\n"
        "tuner: {className: autoprune.search.OptunaTuner, codeDirectory: .}\ntrainingService: {platform: local}\n"
    )
    for name in ("HOME", "NNI_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    name, *options = command
    monkeypatch.setattr(sys, "argv", ["autoprune", name, "masks.yaml" if name == "run" else "masks.py", *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "task masks, train split: the default loss is a classifier's" in line and "(4, 8, 8)" in line


def test_a_search_from_python_refuses_it():
    with pytest.raises(UserError, match="targets of regression"):
        autoprune.run_search(REFUSED["regression"][0], trials=1, baselines=False)
