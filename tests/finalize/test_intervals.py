"""The figures on the test split have an interval, whatever the metric, or a word why not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import make_task
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import autoprune
from autoprune import Metric, Recipe, Task
from autoprune.base.progress import reported_to
from autoprune.train import evaluation, interval
from autoprune.train.interval import bootstrap

X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True) + torch.randn(200, 1, generator=torch.Generator().manual_seed(1))


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        nn.init.ones_(self.layer.weight)

    def forward(self, x):
        return self.layer(x)


def numbers(data=None, **changes) -> Task:
    data = data or TensorDataset(X, Y)
    loss = {"loss": lambda outputs, batch: nn.functional.mse_loss(outputs, batch[1]), "metric": "rmse"}
    return Task("numbers", Sum(), example=X[:1], train=data, validation=data, test=data, **loss | changes)


def test_the_interval_of_an_error_is_that_of_scipy():
    task = numbers()
    (low, high), how = bootstrap(task, task.model, task.test)
    squares = (task.model(X) - Y).square().flatten().detach().numpy()
    wanted = stats.bootstrap((squares,), lambda s, axis: np.sqrt(s.mean(axis)), method="percentile", random_state=0)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval), rel=0.02)
    assert low < evaluation.quality(task, task.model, task.test) < high
    assert how == "bootstrap over examples, 1000 times"


def test_it_repeats_with_the_seed_and_does_not_ask_how_the_examples_come():
    task = numbers()
    first, again = (bootstrap(task, task.model, task.test, 3) for _ in range(2))
    assert first == again != bootstrap(task, task.model, task.test, 4)
    assert bootstrap(task, task.model, DataLoader(task.test, 64), 3) == first


def test_of_many_examples_parts_are_drawn_and_of_a_loaders_own_batches_these(monkeypatch):
    task = numbers()
    monkeypatch.setattr(interval, "PARTS", 50)
    assert bootstrap(task, task.model, task.test)[1] == "bootstrap over parts of 4 examples, 1000 times"
    own = DataLoader(task.test, batch_sampler=[list(range(i, i + 20)) for i in range(0, 200, 20)])
    assert bootstrap(task, task.model, own)[1] == "bootstrap over batches, 1000 times"


def test_scores_of_classes_and_of_tokens_have_one():
    task, data, dense = make_task()
    for metric in ("F1", "mIoU"):
        judged = replace(task, metric=metric)
        (low, high), _ = bootstrap(judged, dense.model, data.test)
        assert 0 <= low < evaluation.quality(judged, dense.model, data.test) < high <= 1
    tokens = torch.randint(7, (40, 6), generator=torch.Generator().manual_seed(0))
    words = TensorDataset(tokens, tokens)
    splits = {"train": words, "validation": words, "test": words}
    model = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7))
    task = Task("text", model, example=tokens[:1], metric="perplexity", **splits)
    (low, high), _ = bootstrap(task, model, words)
    assert 1 < low < evaluation.quality(task, model, words) < high


class Detections(nn.Module):
    """Finds half of the boxes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        places = [box if image.mean() > 0 else box + 50 for image in images]
        return [{"boxes": p, "scores": torch.ones(1), "labels": torch.ones(1, dtype=torch.int64)} for p in places]


class Boxes(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, i):
        target = {"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0]]), "labels": torch.ones(1, dtype=torch.int64)}
        return torch.full((1, 4, 4), float(i % 2) - 0.5), target


def listed(rows):
    images, targets = zip(*rows, strict=True)
    return torch.stack(images), list(targets)


def test_what_finds_objects_is_judged_anew_by_all_that_was_drawn_unless_these_are_too_many(monkeypatch):
    loader = DataLoader(Boxes(), 8, collate_fn=listed)
    splits = {"train": loader, "validation": loader, "test": loader}
    task = Task("boxes", Detections(), example=torch.zeros(1, 1, 4, 4), metric="mAP", **splits)
    monkeypatch.setattr(interval, "JUDGED", 20 * 20)
    monkeypatch.setattr(interval, "FEWEST", 20)
    heard = []
    with reported_to(lambda stages: heard.extend((stage.what, stage.done, stage.total) for stage in stages)):
        (low, high), how = bootstrap(task, task.model, loader)
    assert heard[-1] == ("draw for the interval of the mAP", 20, 20)  # what takes long is shown
    assert 0 < low < evaluation.quality(task, task.model, loader) < high < 1
    assert how == "bootstrap over examples, 20 times"
    monkeypatch.setattr(interval, "FEWEST", 21)
    assert bootstrap(task, task.model, loader) == (None, "none: too many examples to judge 21 times")


class Stream(IterableDataset):
    def __iter__(self):
        data = make_task()[1].test
        yield from ((data.tensors[0][i], int(data.tensors[1][i])) for i in range(60))


def card(task, folder, **options):
    found = autoprune.run_search(task, trials=2, **options)
    found.export(found.front()[0].id, folder, formats=("state_dict",), recovery_steps=0)
    return json.loads((folder / "model_card.json").read_text()), (folder / "model_card.md").read_text()


def test_a_share_of_a_stream_has_wilsons_interval(tmp_path):
    task, data, _ = make_task()
    task = replace(task, data=lambda: data._replace(test=Stream()), supernet_steps=4)
    known, text = card(task, tmp_path)
    low, high = known["test accuracy"]["dense 95 % interval"]
    assert known["test accuracy"]["examples"] == 60 and low < known["test accuracy"]["dense"] <= high
    assert "on 60 test examples (95 % interval: Wilson)" in text


def test_the_card_says_how_an_interval_was_found_and_why_there_is_none(tmp_path):
    task, data, _ = make_task()
    task = replace(task, supernet_steps=4, recovery=Recipe(steps=2), metric="F1")
    known, text = card(task, tmp_path / "one")
    low, high = known["test F1"]["pruned 95 % interval"]
    assert low < known["test F1"]["pruned"] < high and "(95 % interval: bootstrap over examples, 1000 times)" in text
    own = replace(task, metric=Metric("right"), evaluate=lambda model, batches: {"right": float(len(list(batches)))})
    known, text = card(own, tmp_path / "two", constraints=())
    assert "pruned 95 % interval" not in known["test right"]
    assert "none: the task's evaluate returns one number for all examples together" in text
