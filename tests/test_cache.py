"""What is kept in the cache is found again exactly as long as nothing that decides it has changed."""

import random
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from autoprune.base.fingerprint import fingerprint_data
from autoprune.prune import dense
from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.trial.preparation import prepare_search


def network(scale: float = 1.0) -> type[nn.Module]:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.head = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x):
            return self.head(F.relu(self.hidden(x)) * scale)

    return Net


def other_network() -> type[nn.Module]:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.head = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x):
            return self.head(F.gelu(self.hidden(x)) * 1.0)

    Net.__qualname__ = network().__qualname__
    return Net


def weighted(outputs, batch, weight=1.0):
    return weight * F.cross_entropy(outputs, batch[1])


def squared(outputs, batch):
    return F.mse_loss(outputs, F.one_hot(batch[1], 2).float())


class OfLabels(nn.CrossEntropyLoss):
    """A loss that holds a tensor."""

    def forward(self, outputs, batch):
        return super().forward(outputs, batch[1])


def tensors(count: int = 300) -> TensorDataset:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x.sum(1) > 0).long())


class Read(Dataset):
    """Examples that are not in a TensorDataset, as from files; ``noise`` is an augmentation."""

    def __init__(self, data: TensorDataset, noise: float = 0.0):
        self.x, self.y = data.tensors
        self.noise = noise

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + self.noise * random.random() * torch.rand(4), self.y[i]


def task_with(**changes) -> Task:
    plain = Task(
        "small",
        network(),
        lambda: None,
        torch.zeros(1, 4),
        Recipe(steps=2, batch_size=8),
        Recipe(steps=2, batch_size=8),
        supernet_steps=2,
    )
    return replace(plain, **changes)


def key(data: Dataset | None = None, **changes) -> str:
    return dense.load_or_train(task_with(**changes), Splits(*[data or tensors()] * 3)).key


def changed(index: int) -> TensorDataset:
    data = tensors()
    data.tensors[0][index] += 1
    return data


DECIDES = {
    "loss": {"loss": squared},
    "loss's default": {"loss": partial(weighted, weight=2.0)},
    "loss's closure": {"loss": (lambda w: lambda o, batch: weighted(o, batch, w))(2.0)},
    "weights of the loss": {"loss": OfLabels(weight=torch.tensor([1.0, 2.0]))},
    "keep": {"keep": ("hidden",)},
    "shape of the example": {"example_input": torch.zeros(2, 4)},
    "code of the model": {"model": other_network()},
    "closure of the model": {"model": network(2.0)},
    "one example of many": {"data": changed(150)},
    "one example of many, read one by one": {"data": Read(changed(150))},
    "code of the data": {"data": Read(tensors(), noise=0.5)},
}


@pytest.mark.parametrize("changes", DECIDES.values(), ids=DECIDES)
def test_whatever_decides_the_dense_model_gives_it_another_key(changes):
    before = Read(tensors()) if isinstance(changes.get("data"), Read) else None
    assert key(**changes) != key(before)
    assert key(**changes) == key(**changes)


def test_random_augmentation_changes_no_key_and_takes_no_random_numbers_from_others():
    data = Read(tensors(), noise=0.5)
    for generator in (random.seed, torch.manual_seed):
        generator(1)
    expected = random.random(), torch.rand(1)
    for generator in (random.seed, torch.manual_seed):
        generator(1)
    first = fingerprint_data(data)
    assert (random.random(), torch.rand(1)) == expected
    assert fingerprint_data(data) == first


def test_a_task_that_keeps_another_layer_finds_no_subnets_or_probes_of_before():
    data = Splits(*[tensors()] * 3)

    def deep():
        return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    for keep, groups in (("0",), {"2"}), ((), {"0", "2"}):
        task = task_with(keep=keep, model=deep)
        found = prepare_search(task, data, dense.load_or_train(task, data), Candidate(schedule="supernet"))
        assert set(found.sensitivity) == groups


def test_other_levels_are_another_shared_training(monkeypatch):
    task, data = task_with(), Splits(*[tensors()] * 3)
    trained = dense.load_or_train(task, data)
    arguments = (task, data, trained, trained.groups, "l1_norm")
    first = supernet.load_or_train(*arguments)
    assert torch.equal(supernet.load_or_train(*arguments).head.weight, first.head.weight)
    monkeypatch.setattr("autoprune.supernet.subnets.LEVELS", (0.0, 0.5))
    calls = []
    train = supernet.train_supernet
    monkeypatch.setattr(supernet, "train_supernet", lambda *a, **k: calls.append(1) or train(*a, **k))
    supernet.load_or_train(*arguments)
    assert calls


def test_a_checkpoint_of_the_first_weights_is_not_taken_for_the_trained_model(tmp_path):
    task, data = task_with(training=Recipe(steps=20, batch_size=8)), Splits(*[tensors()] * 3)
    trained = dense.load_or_train(task, data)
    torch.save(task.build().state_dict(), tmp_path / "first.pt")
    found = dense.load_or_train(task, data, tmp_path / "first.pt")
    assert torch.equal(found.model.head.weight, trained.initial["head.weight"])
    assert not torch.equal(found.model.head.weight, trained.model.head.weight)
