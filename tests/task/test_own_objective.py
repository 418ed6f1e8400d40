"""A task of one's own: batches of any form, a loss, an evaluation, a metric, a training loop; in Python and for NNI."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import autoprune
from autoprune import Candidate, Metric, Recipe, Task, UserError, run_trial
from autoprune.nni import preflight
from autoprune.prune import dense
from autoprune.results.settings import TrialCommand
from autoprune.trial.setup import check_objectives

X = torch.randn(96, 12, generator=torch.Generator().manual_seed(0))
Y = (X[:, :4].sum(1) - X[:, 4:8].prod(1)).unsqueeze(1)
SHORT = Recipe(steps=60, learning_rate=0.01, distillation=0.5)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(12, 32), nn.Linear(32, 16), nn.Linear(16, 1)

    def forward(self, features):
        return self.head(self.second(self.first(features).relu()).relu())


def regression(**changes) -> Task:
    data = TensorDataset(X, Y)
    given = {
        "model": Net,
        "example": torch.zeros(1, 12),
        "train": data,
        "validation": data,
        "test": data,
        "loss": lambda outputs, batch: nn.functional.mse_loss(outputs, batch[1]),
        "metric": "rmse",
        "training": SHORT,
        "recovery": SHORT,
    }
    return Task("numbers", **given | changes)


@pytest.fixture(scope="module")
def prepared():
    task = regression()
    return task, task.splits(), dense.load_or_train(task, task.splits())


def test_a_regression_is_pruned_and_judged_by_its_error(prepared):
    result = run_trial(prepared[0], Candidate(uniform=0.5), *prepared[1:])
    assert set(result.measures) == {"rmse", "params", "macs", "bytes", "latency_ms"}
    assert 0 < result.measures["rmse"] < float(Y.std())
    assert result.measures["params"] < prepared[2].measures["params"]


@pytest.mark.parametrize("schedule", ["supernet", "gradual"])
def test_other_schedules_recover_it_too(prepared, schedule):
    task, data, model = prepared
    result = run_trial(replace(task, supernet_steps=40), Candidate(uniform=0.5, schedule=schedule), data, model)
    assert 0 < result.measures["rmse"] < float(Y.std())


def test_a_search_finds_a_front_of_an_error_that_is_minimised_and_takes_a_model_home(prepared, tmp_path):
    found = autoprune.run_search(replace(prepared[0], supernet_steps=40), trials=4, constraints=["drop<=80%"])
    assert found.objectives == ("rmse", "macs") and found.metric.name == "rmse"
    assert not found.failed and found.front()
    values = [trial.quality for trial in found.front()]
    assert values == sorted(values)
    final = found.export(found.front()[0].id, tmp_path, formats=("onnx", "state_dict"), recovery_steps=0)
    assert "RMSE" in (tmp_path / "model_card.md").read_text()
    assert final.exported["onnx"].difference < 1e-4
    assert "RMSE" in found.report(tmp_path / "report.html", final).read_text()


@dataclass
class Sample:
    features: torch.Tensor
    wanted: list


def as_samples(rows):
    return Sample(torch.stack([x for x, _ in rows]), [y for _, y in rows])


def test_a_batch_may_be_a_dataclass_with_a_ragged_list_from_a_loader():
    loader = DataLoader(TensorDataset(X, Y), 32, shuffle=True, collate_fn=as_samples)
    task = regression(
        train=loader,
        validation=loader,
        test=loader,
        forward=lambda model, batch: model(batch.features),
        loss=lambda outputs, batch: nn.functional.mse_loss(outputs, torch.stack(batch.wanted)),
        evaluate=lambda model, batches: {
            "rmse": sum(float((model(b.features) - torch.stack(b.wanted)).square().sum()) for b in batches) ** 0.5
        },
    )
    data = task.splits()
    model = dense.load_or_train(task, data)
    first, second = (run_trial(task, Candidate(uniform=0.5), data, model).measures["rmse"] for _ in range(2))
    assert first == second < 96**0.5 * float(Y.std())


class Named(Net):
    def forward(self, features, scale, labels=None):
        outputs = super().forward(features * scale)
        loss = None if labels is None else nn.functional.mse_loss(outputs, labels)
        return {"logits": outputs, "loss": loss}


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, i):
        return {"features": X[i], "scale": torch.ones(1), "labels": Y[i]}


def test_a_dictionary_with_a_models_own_loss_needs_no_word_and_is_exported(tmp_path):
    rows = Rows()
    example = {"features": torch.zeros(1, 12), "scale": torch.ones(1, 1)}
    task = Task("named", Named, None, example, SHORT, SHORT, train=rows, validation=rows, test=rows, metric="mae")
    found = autoprune.run_search(task, trials=2, baselines=False, warm_start=False, rungs=False)
    assert not found.failed
    final = found.export(found.front()[0].id, tmp_path, formats=("onnx", "pt2"), recovery_steps=0)
    assert max(each.difference for each in final.exported.values()) < 1e-4


def test_a_training_of_ones_own_recovers_the_networks_and_allows_no_supernet(prepared):
    steps = []

    def fit(model, count):
        steps.append(count)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(X), Y).backward()
            optimizer.step()

    task = regression(fit=fit)
    found = autoprune.run_search(task, trials=2, baselines=False, warm_start=False, rungs=False)
    assert not found.failed and steps == [60, 60, 60]
    sparse = run_trial(task, Candidate(uniform=0.5, criterion="level"), found.loaded[1], found.loaded[2])
    assert sparse.measures["params"] < 0.7 * found.dense["params"]
    with pytest.raises(UserError, match="its own fit: use one_shot"):
        autoprune.run_search(task, space={"schedule": {"_type": "choice", "_value": ["supernet"]}}, trials=1)


def test_a_trained_model_is_neither_trained_again_nor_changed(prepared):
    model = prepared[2].model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = autoprune.run_search(regression(model=model), trials=2, rungs=False, warm_start=False)
    assert found.dense["rmse"] == prepared[2].measures["rmse"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(found.baselines) == {"l1_filter"}  # nobody knows the weights that lottery tickets rewind to


def test_another_metric_among_the_objectives_is_refused():
    with pytest.raises(UserError, match="task numbers is judged by rmse, not by accuracy"):
        check_objectives(regression(), ["accuracy", "macs"])
    with pytest.raises(UserError, match="judged by rmse, not by perplexity"):
        check_objectives(regression(), ["rmse"], ["perplexity<=20"])


def test_the_trial_command_says_what_other_processes_must_know():
    command = "autoprune trial own.py --seed 3 --device auto"
    settings = TrialCommand.parse(command)
    word = Metric("own_error", "minimize").to_word()
    completed, found = preflight._completed(command, settings, word, True, "cuda")
    assert TrialCommand.parse(completed) == found
    assert found.measure.direction == "minimize" and found.measure.name == "own_error"
    assert not found.knows_initial and found.seed == 3 and found.device == "cuda"


def test_lottery_tickets_of_a_model_that_comes_trained_are_refused_before_the_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from dataclasses import replace\n"
        "from autoprune.task import load_task\n"
        "digits = load_task('digits')\n"
        "task = replace(digits, model=digits.build(0), name='trained')\n"
    )
    config = {
        "searchSpace": {"schedule": {"_type": "choice", "_value": ["one_shot", "lottery_ticket"]}},
        "trialCommand": "autoprune trial own.py",
        "trialCodeDirectory": ".",
        "trialConcurrency": 1,
        "tuner": {"className": "autoprune.search.OptunaTuner", "codeDirectory": "."},
        "trainingService": {"platform": "local"},
    }
    Path("config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="lottery_ticket needs the weights before training"):
        preflight.check_and_complete(preflight.load_config("config.yaml"))


def test_a_search_takes_a_trained_model_and_its_data_without_a_class(prepared):
    data = TensorDataset(X, Y)
    options = {"loss": regression().loss, "metric": "rmse", "recovery": SHORT, "shared_steps": 40, "trials": 2}
    how = {"train": data, "validation": data, "example": torch.zeros(1, 12), "baselines": False}
    with pytest.warns(UserWarning, match="no test split was given") as said:
        found = autoprune.run_search(prepared[2].model, **how, **options, distill=lambda *_: None)
    assert any("nothing is learnt from the dense model's outputs" in str(each.message) for each in said)
    assert found.dense["rmse"] == prepared[2].measures["rmse"] and not found.failed
    smaller = found.model(found.front()[-1])
    assert sum(p.numel() for p in smaller.parameters()) < found.dense["params"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": TensorDataset(X, Y)}, "needs validation and example"),
        ({"train": X, "validation": X, "example": X[:1], "epochs": 3}, "take no epochs"),
    ],
)
def test_a_model_without_its_data_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        autoprune.run_search(Net(), trials=1, **given)


def test_an_option_of_a_task_beside_a_task_is_refused():
    with pytest.raises(UserError, match="train goes with a model"):
        autoprune.run_search("digits", train=TensorDataset(X, Y))
