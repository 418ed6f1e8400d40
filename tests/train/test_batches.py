"""Whatever form its batches have, a network trains on them, and augmentations repeat with the seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from autoprune.base import memory
from autoprune.base.fingerprint import fingerprint_data
from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.prune.dense import training_key
from autoprune.results.candidate import Candidate
from autoprune.task.objective import default_loss
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation, loading
from autoprune.train.fit import check_data
from autoprune.train.loop import train
from autoprune.trial.run import run_trial

COUNT = 48
Y = torch.arange(COUNT) % 3
X = torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(0)) + 3 * F.one_hot(Y, 4)
RECIPE = Recipe(steps=25, batch_size=8, learning_rate=0.1)
RECOVERY = replace(RECIPE, learning_rate=0.02, distillation=0.5)


def classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def segmenter() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))


class Tagger(nn.Module):
    """Rows of tokens to the class of each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 16), nn.Linear(16, 3)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.head(self.embed(ids))


class Rows(Dataset):
    """Examples made of ``X`` and ``Y`` by a function."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int) -> Any:
        return self._make(i)


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


@dataclass
class Batch:
    x: Tensor
    y: Tensor


def as_dataclass(examples: list[tuple[Tensor, Tensor]]) -> Batch:
    x, y = zip(*examples, strict=True)
    return Batch(torch.stack(x), torch.stack(y))


def as_lists(examples: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    x, y = zip(*examples, strict=True)
    return list(x), list(y)


def pair(i: int) -> tuple[Tensor, Tensor]:
    return X[i], Y[i]


def named(i: int) -> dict[str, Tensor]:
    return {"x": X[i], "label": Y[i]}


def ragged(i: int) -> tuple[Tensor, Tensor]:
    """An example of 1 to 3 rows, which count by their mean."""
    return X[i].expand(1 + i % 3, 4), Y[i]


IMAGES = torch.rand(COUNT, 1, 6, 6, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(1, 11, (COUNT, 7), generator=torch.Generator().manual_seed(2))
REAL = torch.arange(7) < 3 + torch.arange(COUNT).unsqueeze(1) % 5
TAGS = (TOKENS % 3).where(REAL, -100)


def padded(i: int) -> dict[str, Tensor]:
    return {"ids": TOKENS[i], "attention_mask": REAL[i].long(), "labels": TAGS[i]}


def task_on(data: Any, model: Callable[[], nn.Module] = classifier, example: Any = X[:1], **changes: Any) -> Task:
    return Task("batches", model, lambda: Splits(data, data, data), example, RECIPE, RECOVERY, **changes)


def batches_of(data: Dataset, collate: Any = None, **options: Any) -> DataLoader:
    return DataLoader(data, 8, shuffle=not isinstance(data, IterableDataset), collate_fn=collate, **options)


TASKS = {
    "masks": lambda: task_on(TensorDataset(IMAGES, (IMAGES[:, 0] > 0.5).long()), segmenter, IMAGES[:1]),
    "tokens with padding": lambda: task_on(TensorDataset(TOKENS, TAGS), Tagger, TOKENS[:1]),
    "dictionaries of tokens": lambda: task_on(
        Rows(padded),
        Tagger,
        {"ids": TOKENS[:1], "attention_mask": REAL[:1].long()},
        forward=lambda model, batch: model(batch["ids"], batch["attention_mask"]),
    ),
    "dictionaries": lambda: task_on(Rows(named), forward=lambda model, batch: model(batch["x"])),
    "ragged lists": lambda: task_on(
        batches_of(Rows(ragged), as_lists),
        forward=lambda model, batch: model(torch.stack([rows.mean(0) for rows in batch[0]])),
        loss=lambda outputs, batch: F.cross_entropy(outputs, torch.stack(batch[1])),
        distill=lambda outputs, teacher, batch: F.mse_loss(outputs, teacher),
        evaluate=accuracy_of_lists,
    ),
    "dataclasses": lambda: task_on(
        batches_of(Rows(pair), as_dataclass),
        forward=lambda model, batch: model(batch.x),
        loss=lambda outputs, batch: F.cross_entropy(outputs, batch.y),
        distill=lambda outputs, teacher, batch: F.mse_loss(outputs, teacher),
        evaluate=lambda model, batches: mean((model(each.x).argmax(1) == each.y) for each in batches),
    ),
    "a loader with workers": lambda: task_on(batches_of(Rows(pair), num_workers=1)),
    "a loader with a sampler": lambda: task_on(
        DataLoader(Rows(pair), 8, sampler=WeightedRandomSampler([1.0] * COUNT, COUNT))
    ),
    "a stream": lambda: task_on(Stream()),
    "a loader of a stream": lambda: task_on(batches_of(Stream())),
}


def mean(parts: Any) -> dict[str, float]:
    return {"accuracy": float(torch.cat(list(parts)).float().mean())}


def accuracy_of_lists(model: nn.Module, batches: Any) -> dict[str, float]:
    return mean(model(torch.stack([rows.mean(0) for rows in x])).argmax(1) == torch.stack(y) for x, y in batches)


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_a_network_trains_on_batches_of_every_form(make):
    task = make()
    data, model = task.splits(), task.build()
    assert check_data(task, data, model) == []
    before = evaluation.quality(task, model, data.validation)
    train(task, model, data.train, replace(RECIPE, distillation=0.1), teacher=task.build(1).eval())
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after, loss = evaluation.quality_and_loss(task, model, data.validation)
    assert after > max(0.8, before) and loss < 0.7
    again = task.build()
    train(task, again, data.train, replace(RECIPE, distillation=0.1), teacher=task.build(1).eval())
    assert all(torch.equal(tensor, first[name]) for name, tensor in again.state_dict().items())


def test_padding_decides_neither_the_loss_nor_the_metric():
    task = TASKS["tokens with padding"]()
    model = task.build()
    other = TOKENS.where(REAL, 1 + (TOKENS + 3) % 10)
    for measure in (evaluation.quality, evaluation.quality_and_loss):
        assert measure(task, model, TensorDataset(TOKENS, TAGS)) == measure(task, model, TensorDataset(other, TAGS))


def test_perplexity_weighs_each_token_alike_however_a_batch_is_padded(monkeypatch):
    """One batch of long rows and one of short ones give what all rows give at once."""
    task = replace(TASKS["tokens with padding"](), metric="perplexity")
    model, order = task.build(), REAL.sum(1).argsort()
    together = evaluation.quality(task, model, TensorDataset(TOKENS, TAGS))
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 12)
    assert evaluation.quality(task, model, TensorDataset(TOKENS[order], TAGS[order])) == pytest.approx(together)


class Augmented(Dataset):
    """Noise from one of the global generators."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return X[i] + self._draw(), Y[i]


DRAWS = {
    "Python": lambda: random.gauss(0, 1),
    "NumPy": lambda: float(np.random.randn()),
    "PyTorch": lambda: float(torch.randn(())),
}


def disturb(number: int) -> None:
    """Leave the global generators in some state."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@pytest.fixture
def generators_back():
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


def trained(data: Any, seed: int) -> list[Tensor]:
    task = task_on(data)
    model = task.build()
    train(task, model, data, RECIPE, seed)
    return list(model.state_dict().values())


@pytest.mark.parametrize("workers", [None, 0, 1], ids=["data set", "loader", "workers"])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_augmentation_repeats_with_the_seed_and_leaves_the_generators_alone(draw, workers, generators_back):
    data = Augmented(draw) if workers is None else batches_of(Augmented(draw), num_workers=workers)
    disturb(1)
    first = trained(data, seed=0)
    disturb(2)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    again = trained(data, seed=0)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[:2]
    assert torch.equal(torch.get_rng_state(), state[2])
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, trained(data, seed=1)))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_augmentation_does_not_change_the_key_of_the_cache(draw, generators_back):
    for data in (Augmented(draw), batches_of(Augmented(draw))):
        task, keys = task_on(data), []
        for number in (1, 2):
            disturb(number)
            keys.append(training_key(task, task.splits(), task.build(), 0, False))
            trained(data, seed=0)
        assert keys[0] == keys[1]


def test_what_a_loader_holds_counts_for_the_cache():
    loaders = [
        DataLoader(TensorDataset(X, Y), 8),
        DataLoader(TensorDataset(X + 1, Y), 8),
        DataLoader(TensorDataset(X, Y), 4),
        DataLoader(TensorDataset(X, Y), 8, shuffle=True),
        DataLoader(TensorDataset(X, Y), 8, collate_fn=as_dataclass),
        DataLoader(TensorDataset(X, Y), 8, sampler=WeightedRandomSampler([1.0] * COUNT, COUNT)),
        DataLoader(TensorDataset(X, Y), 8, sampler=WeightedRandomSampler([1.0, 2.0] * (COUNT // 2), COUNT)),
    ]
    assert len({fingerprint_data(loader) for loader in loaders}) == len(loaders)
    assert fingerprint_data(DataLoader(TensorDataset(X, Y), 8)) == fingerprint_data(loaders[0])


def test_a_stream_that_has_ended_is_refused_in_one_line():
    class Once(IterableDataset):
        def __init__(self) -> None:
            self._left = iter(list(zip(X, Y, strict=True))[:16])

        def __iter__(self):
            return self._left

    data = Once()
    task = task_on(data)
    with pytest.raises(UserError, match="training split gives no batches: it is empty, or an iterator that has ended"):
        train(task, task.build(), data, RECIPE)


@pytest.mark.parametrize("name", ["ragged lists", "dataclasses", "dictionaries", "a stream", "a loader of a stream"])
def test_a_candidate_is_pruned_and_recovers_on_it(name):
    task = replace(TASKS[name](), name=name, supernet_steps=10)
    data = task.splits()
    found = dense.load_or_train(task, data)
    for candidate in (Candidate(uniform=0.5, criterion="taylor"), Candidate(uniform=0.5, schedule="supernet")):
        result = run_trial(task, candidate, data, found)
        assert result.measures["params"] < found.measures["params"] and result.measures["accuracy"] > 0.8


def test_as_many_tokens_as_classes_are_told_apart_by_the_form_of_the_batch():
    logits = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(15).reshape(3, 5) % 5
    of_tokens = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert default_loss(logits, {"input_ids": labels, "labels": labels}) == pytest.approx(float(of_tokens))
    assert default_loss(logits, (logits, labels)) == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))


META = torch.device("meta")


@pytest.fixture
def room(monkeypatch):
    """Return a function that says how many bytes are free on the device."""
    return lambda free: monkeypatch.setattr(memory, "free_bytes", lambda device: free)


def test_data_are_moved_to_a_device_once_where_they_fit(room, monkeypatch):
    room(10**9)
    data, moved = TensorDataset(torch.zeros(10, 4), torch.zeros(10)), []
    for _ in range(2):
        found = list(loading.batches(data, 4, device=META))
        assert [x.shape for x, _ in found] == [(4, 4), (4, 4), (2, 4)]
        assert {part.device for batch in found for part in batch} == {META}
        moved.append(loading._kept[data][1])
    assert moved[0] is moved[1]
    data.tensors[0][0] = 1  # what is there is no longer what it was
    next(loading.batches(data, 4, device=META))
    assert loading._kept[data][1] is not moved[0]
    assert data.tensors[0].device.type == "cpu"


def test_they_are_not_where_they_would_take_much_of_what_is_free(room):
    data = TensorDataset(torch.zeros(10, 4), torch.zeros(10))
    room(200 / loading.SHARE - 1)
    assert next(loading.batches(data, 4, device=META))[0].device.type == "cpu"
    room(200 / loading.SHARE + 1)
    assert next(loading.batches(data, 4, device=META))[0].device == META


def test_data_on_a_device_go_with_the_data_set(room):
    room(10**9)
    data = TensorDataset(torch.zeros(10, 4))
    before = len(loading._kept)
    next(loading.batches(data, 4, device=META))
    assert len(loading._kept) == before + 1
    del data
    assert len(loading._kept) == before
