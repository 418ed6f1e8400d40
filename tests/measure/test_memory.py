"""The memory that a network needs: counted by hand where that can be done."""

import json

import pytest
import torch
import yaml
from tiny import make_task
from torch import nn

import autoprune
from autoprune.errors import UserError
from autoprune.measure.memory import memory
from autoprune.nni import page_data, preflight
from autoprune.report.page import write_report
from autoprune.results.limits import Limit
from autoprune.results.settings import TrialCommand

NUMBER = 4


@pytest.mark.parametrize("batch", [1, 10])
def test_it_is_weights_inputs_and_the_most_that_lives_at_once(batch):
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10), nn.ReLU())
    weights = 100 * 1000 + 1000 + 1000 * 10 + 10
    assert memory(model, torch.zeros(1, 100), batch) == NUMBER * (weights + batch * (100 + 1000 + 1000))


def test_what_works_in_place_or_looks_at_a_part_needs_none():
    model = nn.Sequential(nn.Linear(10, 20, bias=False), nn.ReLU(inplace=True), nn.Flatten(0), nn.Identity())
    assert memory(model, torch.zeros(1, 10)) == NUMBER * (200 + 10 + 20)


def test_shared_weights_count_once_and_the_network_stays_as_it_was():
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.BatchNorm1d(10), nn.Linear(10, 10, bias=False)).train()
    model[2].weight = model[0].weight
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    buffers = 2 * 10 * NUMBER + 8
    assert memory(model, torch.zeros(1, 10), 3) == NUMBER * (100 + 20 + 3 * 10 + 2 * 3 * 10) + buffers
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    how = {"trials": 2, "baselines": False, "warm_start": False, "rungs": False}
    task, folder = make_task()[0], tmp_path_factory.mktemp("search")
    asked = autoprune.run_search(task, constraints=["memory<=1G"], latency_batch=3, folder=folder / "a", **how)
    return asked, autoprune.run_search(task, folder=folder / "b", **how)


def test_a_search_that_asks_for_it_has_it_in_results_tables_and_rules(results, tmp_path):
    asked, _ = results
    assert asked.settings.also == "memory"
    task, _, dense = asked.loaded
    assert asked.dense["memory"] == memory(dense.model, task.example, 3)
    assert all(0 < trial.metrics["memory"] <= asked.dense["memory"] for trial in asked.trials)
    record = json.loads((asked.trials[0].folder / "result.json").read_text())
    assert record["measures"]["memory"] == asked.trials[0].measures["memory"]
    from rich.console import Console

    from autoprune.report.table import front_table

    console = Console(width=200)
    with console.capture() as shown:
        console.print(front_table(asked))
    assert "Memory" in shown.get()
    assert asked.front(("accuracy", "memory"))
    shown = page_data.page(asked)
    assert shown["measures"][-1]["name"] == "memory" and shown["dense"]["texts"][-1].endswith("kB")
    assert "Memory" in write_report(asked, None, tmp_path / "report.html").read_text()


def test_one_that_does_not_has_none_and_says_how_to_have_it(results):
    _, without = results
    assert "memory" not in without.dense and "memory" not in without.sizes
    assert all(trial.succeeded and "memory" not in trial.metrics for trial in without.trials)
    with pytest.raises(UserError, match="memory was not measured: name it among the search's objectives"):
        without.front(("accuracy", "memory"))
    with pytest.raises(UserError, match="memory was not measured"):
        Limit.read("memory<=1M").violation(without.trials[0].measures)


def test_the_trial_command_names_it():
    settings = TrialCommand.from_words(["digits", "--also", "memory"])
    assert settings.optional == ("memory",) and settings.to_words()[3:] == ["--also", "memory"]
    assert settings.measuring(["accuracy", "macs"], []).also == "memory"
    assert TrialCommand("digits").measuring(["accuracy", "memory"], []).also == "memory"
    assert TrialCommand("digits").measuring(["accuracy", "macs"], ["latency<=1ms"]) == TrialCommand("digits")
    with pytest.raises(UserError, match="unknown measure 'memry': use memory"):
        TrialCommand.from_words(["digits", "--also", "memry"])


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ({"objectives": ["accuracy", "memory"]}, "autoprune trial digits --also memory"),
        ({"constraints": ["memory<=50k"]}, "autoprune trial digits --also memory"),
        ({"constraints": ["macs<=1M"]}, "autoprune trial digits"),
    ],
)
def test_an_experiment_measures_it_where_its_tuner_asks_for_it(tmp_path, arguments, command):
    tuner = {"className": "autoprune.search.OptunaTuner", "codeDirectory": ".", "classArgs": arguments}
    config = {
        "searchSpace": {"sparsity": {"_type": "uniform", "_value": [0, 0.9]}},
        "trialCommand": "autoprune trial digits",
        "trialConcurrency": 1,
        "tuner": tuner,
        "trainingService": {"platform": "local"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    loaded = preflight.load_config(tmp_path / "config.yaml")
    for _ in range(2):  # NNI's launcher checks what ours has checked
        preflight.check_and_complete(loaded)
        assert loaded.trial_command == command
