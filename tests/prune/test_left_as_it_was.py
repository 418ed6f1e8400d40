"""No function changes a network that it did not make, whatever the criterion does to judge it."""

from dataclasses import replace

import pytest
import torch
from tiny import TinyNet, make_task
from torch import nn

from autoprune.api import search as api
from autoprune.measure import latency
from autoprune.prune.criteria import CRITERIA, Context, choose_channels, choose_weights
from autoprune.prune.dense import Dense
from autoprune.prune.find import find_groups
from autoprune.prune.removal import remove_channels
from autoprune.prune.schedules import SCHEDULES
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.supernet.subnets import Subnets
from autoprune.train import evaluation
from autoprune.trial import preparation, sensitivity
from autoprune.trial.run import run_trial

CHANNELS = [name for name, criterion in CRITERIA.items() if criterion.structured]


class TiedNet(TinyNet):
    """Two layers that share a weight, one parameter that does not learn, and a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.again = nn.Linear(32, 32), nn.Linear(32, 32)
        self.again.weight = self.hidden.weight
        self.head = nn.Linear(32, 3)
        self.head.bias.requires_grad_(False)
        self.head.register_forward_hook(pass_on)

    def forward(self, x):
        x = self.stem_bn(self.stem(x)).relu()
        x = (x + self.outer(self.inner_bn(self.inner(x)).relu())).relu()
        x = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.head(self.again(self.hidden(x).relu()).relu())


def pass_on(layer, inputs, output):
    return output


def state(model: nn.Module) -> list:
    """Return all that makes a model what it is: which tensors stand where, what they hold, and how layers are set."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return [
        [(name, id(tensor), tensor.detach().clone().tolist()) for name, tensor in tensors],
        [(name, tensor.requires_grad, tensor.grad is None, type(tensor)) for name, tensor in tensors],
        [(name, id(layer), type(layer), layer.training, sorted(vars(layer))) for name, layer in model.named_modules()],
        [(dict(layer._forward_hooks), dict(layer._forward_pre_hooks)) for layer in model.modules()],
    ]


@pytest.fixture
def tied():
    task, data, _ = make_task()
    task = replace(task, name="tied", model=TiedNet, supernet_steps=2)
    model = task.build()
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval().hidden.train()  # one layer in another mode than the rest
    groups = find_groups(model, task.example_input)
    return task, data, Dense(model, initial, {"accuracy": 0.5, "params": 1, "macs": 1, "bytes": 1}, "tied", groups)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_leaves_the_network_that_it_judges_and_trains_a_copy(name, tied):
    task, data, dense = tied
    before, context = state(dense.model), Context(task, data.train, steps=2, batches=1)
    choose = choose_channels if CRITERIA[name].structured else choose_weights
    amount = 2 if CRITERIA[name].structured else 0.5
    asked = {group.name: amount for group in dense.groups}
    _, judged = choose(dense.model, dense.groups, name, asked, context)
    assert state(dense.model) == before
    assert (judged is not dense.model) == ("training" in CRITERIA[name].needs or CRITERIA[name].compensates)
    assert not judged.training or judged is dense.model
    assert judged.again.weight is judged.hidden.weight
    if judged is not dense.model:
        assert any(not torch.equal(a, b) for a, b in zip(judged.parameters(), dense.model.parameters(), strict=True))


@pytest.mark.parametrize("name", CHANNELS)
def test_tied_layers_can_be_removed_from_after_any_criterion(name, tied):
    task, data, dense = tied
    context = Context(task, data.train, steps=2, batches=1)
    amounts = {group.name: 2 for group in dense.groups}
    gone, judged = choose_channels(dense.model, dense.groups, name, amounts, context)
    for model in (dense.model, judged):
        smaller = remove_channels(model, task.example_input, dense.groups, gone)
        assert smaller.again.weight is smaller.hidden.weight


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("schedule", ["one_shot", "supernet"])
def test_preparing_a_search_leaves_the_dense_model_and_a_second_run_finds_the_same(name, schedule, tied):
    task, data, dense = tied
    if schedule == "supernet" and not CRITERIA[name].structured:
        return
    before, candidate = state(dense.model), Candidate(criterion=name, schedule=schedule)
    first = preparation.prepare_search(task, data, dense, candidate, round_to=1)
    assert state(dense.model) == before
    assert preparation.prepare_search(task, data, dense, candidate, round_to=1).to_dict() == first.to_dict()
    assert state(dense.model) == before


@pytest.mark.parametrize("name", CRITERIA)
def test_a_trial_leaves_the_dense_model_and_a_second_one_finds_the_same(name, tied):
    task, data, dense = tied
    before = state(dense.model)
    schedules = ["one_shot", "gradual", *(["supernet"] if CRITERIA[name].structured else ["lottery_ticket"])]
    for schedule in schedules:
        candidate = Candidate(uniform=0.5, criterion=name, schedule=schedule, budget=1.0)
        first, second = (run_trial(task, candidate, data, dense, round_to=1).model.state_dict() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first), schedule
        assert state(dense.model) == before, schedule


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_schedule_changes_the_dense_model(schedule, tied):
    task, data, dense = tied
    before = state(dense.model)
    criterion = "level" if SCHEDULES[schedule].grow else "l1_norm"
    run_trial(task, Candidate(uniform=0.5, criterion=criterion, schedule=schedule), data, dense, round_to=1)
    assert state(dense.model) == before


@pytest.mark.parametrize("name", CHANNELS)
def test_probing_and_sharing_leave_what_they_are_given(name, tied):
    task, data, dense = tied
    before, context = state(dense.model), Context(task, data.train, steps=2, batches=1)
    sensitivity.probe(task, data, dense.model, dense.model, dense.groups, name, round_to=1)
    assert state(dense.model) == before
    subnets = Subnets.ordered_by(name, dense.model, dense.groups, context, round_to=1)
    supernet.train_supernet(task, data, dense.model, subnets, replace(task.recovery, steps=2))
    supernet.load_or_train(task, data, dense, dense.groups, name, round_to=1)
    assert state(dense.model) == before


@pytest.mark.parametrize("name", CRITERIA)
def test_a_search_leaves_its_dense_model(name, tied, monkeypatch):
    task, _, dense = tied
    before = state(dense.model)
    monkeypatch.setattr(api.dense, "load_or_train", lambda *_: dense)
    schedule = "supernet" if CRITERIA[name].structured else "one_shot"
    space = {
        "criterion": {"_type": "choice", "_value": [name]},
        "schedule": {"_type": "choice", "_value": [schedule]},
        "sparsity": {"_type": "quniform", "_value": [0.25, 0.75, 0.25]},
    }
    result = api.run_search(task, trials=1, space=space, baselines=False, round_to=1)
    assert not result.failed, [trial.reason for trial in result.failed]
    assert state(dense.model) == before


def test_measuring_leaves_every_layer_in_its_mode(tied):
    task, data, dense = tied
    dense.model.train().inner_bn.eval()
    before = state(dense.model)
    evaluation.quality(task, dense.model, data.validation)
    evaluation.quality_and_loss(task, dense.model, data.validation)
    latency.compare(dense.model, dense.model, task.example_input, runs=1, warmup=0)
    preparation.size_model(dense.model, task.example_input, dense.groups)
    run_trial(task, Candidate(uniform=0.5, schedule="supernet"), data, dense)
    assert state(dense.model) == before


@pytest.mark.parametrize("name", ["slim", "l0", "random", "group_taylor"])
def test_a_candidate_loses_the_channels_that_the_shared_weights_were_trained_to_lose(name, tied, monkeypatch):
    """However few groups it asks for, and although the supernet's training is longer than its own."""
    task, data, dense = tied
    trained = []
    train = supernet.train_supernet
    monkeypatch.setattr(
        supernet, "train_supernet", lambda *given, **how: trained.append(given[3].removals) or train(*given, **how)
    )
    weights = supernet.load_or_train(task, data, dense, dense.groups, name, round_to=1)
    gone = trained[0][0.5]["inner"]
    assert len(gone) == 6 and set(trained[0][0.25]["inner"]) < set(gone) < set(trained[0][0.75]["inner"])
    kept = [channel for channel in range(12) if channel not in gone]
    candidate = Candidate({"inner": 0.5}, criterion=name, schedule="supernet")
    model = run_trial(task, candidate, data, dense, round_to=1).model
    assert torch.equal(model.inner.weight, weights.inner.weight[kept])
