"""Data that AutoPrune cannot train on is refused in one line with its shapes, before anything is trained."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

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
    "masks": (
        task_on(y=torch.zeros(12, 8, 8).long(), model=lambda: nn.Conv2d(3, 4, 3, padding=1)),
        r"train split: its labels have shape \(4, 8, 8\) and type int64 .* masks of segmentation cannot be trained on",
    ),
    "regression": (task_on(y=torch.rand(12)), r"labels have shape \(4,\) and type float32 .* targets of regression"),
    "regression in columns": (task_on(y=torch.rand(12, 1)), r"shape \(4, 1\) .* targets of regression"),
    "one-hot": (task_on(y=nn.functional.one_hot(Y)), r"shape \(4, 4\) .* one-hot labels \(use labels.argmax\(1\)\)"),
    "several labels": (task_on(y=torch.ones(12, 4).long()), r"shape \(4, 4\) .* several labels for each example"),
    "out of range": (task_on(y=Y + 1), "labels go from 1 to 4, but the model has 4 outputs: labels are 0 to 3"),
    "negative": (task_on(y=Y - 1), "labels go from -1 to 2"),
    "dictionaries": (task_on(data=Dicts()), "a pair of tensors, inputs and labels, not a dictionary of pixels, label"),
    "three parts": (task_on(data=TensorDataset(X, Y, Y)), r"not 3 parts \(of shape \(4, 3, 8, 8\)"),
    "ragged": (task_on(data=Ragged()), "examples cannot be read as a batch: RuntimeError"),
    "empty": (task_on(X[:0], Y[:0]), "train split: it is empty"),
    "not data": (task_on(data=iter([1])), "has no length"),
    "other inputs": (task_on(x=X[:, :2]), r"cannot take its inputs, of shape \(4, 2, 8, 8\) and type float32: Runtime"),
    "NaN": (task_on(x=X.masked_fill(X[11, 0, 0, 0] == X, float("nan"))), "train split: NaN is among its inputs"),
    "an infinite loss": (
        task_on(loss=lambda o, y: nn.functional.cross_entropy(o, y) / 0),
        "the loss of the first batch is inf",
    ),
    "a tuple": (task_on(model=lambda: Pair()), r"the model returns 2 parts .* has shape \(4, classes\)"),
    "loss of no gradient": (task_on(loss=lambda o, y: torch.tensor(1.0)), "one number with a gradient, not of shape"),
    "a loss for each": (task_on(loss=nn.CrossEntropyLoss(reduction="none")), r"one number .* not of shape \(4,\)"),
    "a loss that fails": (task_on(loss=nn.BCELoss()), r"no loss for inputs of shape \(4, 3, 8, 8\)"),
}


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
    return autoprune.Splits(*[TensorDataset(torch.randn(8, 3, 8, 8), torch.zeros(8, 8, 8).long())] * 3)
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
    assert "task masks, train split: its labels have shape (4, 8, 8)" in line


def test_a_search_from_python_refuses_it():
    with pytest.raises(UserError, match="masks of segmentation"):
        autoprune.run_search(REFUSED["masks"][0], trials=1, baselines=False)
