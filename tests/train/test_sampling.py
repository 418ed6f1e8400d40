"""What decides before a search is drawn by a seed, with each class its share, whatever the order of the data."""

from collections import Counter

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from autoprune.results.candidate import Candidate
from autoprune.supernet import supernet
from autoprune.supernet.subnets import Subnets
from autoprune.task.task import Splits
from autoprune.train import evaluation, loading
from autoprune.trial import preparation, sensitivity
from autoprune.trial.sensitivity import probe


class Listed(Dataset):
    """Like torchvision's: the labels are known without reading the examples."""

    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return torch.tensor([float(i)]), self.targets[i]


def labels(data: Dataset) -> Counter:
    return Counter(int(y) for _, ys in loading.batches(data, 64) for y in ys)


SORTED = [0] * 600 + [1] * 300 + [2] * 99 + [3]
DATA = {
    "tensors": TensorDataset(torch.arange(1000.0).unsqueeze(1), torch.tensor(SORTED)),
    "targets": Listed(SORTED),
    "a subset": Subset(Listed([9, *SORTED]), range(1, 1001)),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_a_sample_of_data_sorted_by_class_has_each_class_in_its_share(data):
    found = labels(loading.sample_of(data, 100))
    assert found[3] == 1 and found.total() == 100
    assert all(abs(found[label] - share) <= 1 for label, share in ((0, 60), (1, 30), (2, 10)))


def test_the_same_seed_draws_the_same_sample_and_another_seed_another():
    first, again, other = (loading.sample_of(DATA["tensors"], 100, seed).tensors[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labels_that_are_not_known_are_drawn_by_chance_alone():
    class Plain(Listed):
        def __init__(self):
            self.hidden = SORTED

        targets = property()

        def __len__(self):
            return 1000

        def __getitem__(self, i):
            return torch.tensor([float(i)]), self.hidden[i]

    found = labels(loading.sample_of(Plain(), 200))
    assert 90 < found[0] < 150 and 30 < found[1] < 90


def by_class(data: Splits) -> Splits:
    """Return the same examples, sorted by their labels."""
    return Splits(*(TensorDataset(*(tensor[split.tensors[1].argsort()] for tensor in split.tensors)) for split in data))


def test_the_probe_sees_the_same_in_data_sorted_by_class(digits, monkeypatch):
    task, data, dense = digits
    monkeypatch.setattr(sensitivity, "EXAMPLES", 120)
    curves = [
        probe(task, each, dense.model, dense.model, dense.groups, "l1_norm").quality for each in (data, by_class(data))
    ]
    for name, curve in curves[0].items():
        for (_, a), (_, b) in zip(curve, curves[1][name], strict=True):
            assert abs(a - b) < 0.12


def test_the_plateau_and_the_beginning_of_fine_tuning_see_the_same_in_data_sorted_by_class(digits, monkeypatch):
    task, data, dense = digits
    monkeypatch.setattr(supernet, "EXAMPLES", 120)
    subnets = Subnets.ordered_by("l1_norm", dense.model, dense.groups)
    small = subnets.build(dense.model, subnets.smallest())
    best = []
    for each in (data, by_class(data)):
        plateau = supernet._Plateau(task, each, subnets, 0)
        plateau(0, dense.model)
        best.append(plateau.best)
        supernet.recalibrate(task, small, each)
    assert abs(best[0] - best[1]) < 0.1
    seen = []
    monkeypatch.setattr(evaluation, "quality", lambda task, model, split: seen.append(labels(split)) or 0.0)
    supernet.lacks_a_point_at_most(dense.model, dense.model, task, by_class(data))
    assert seen[0] == seen[1] and len(seen[0]) == 10


def test_blocks_are_weighed_on_all_classes(digits, monkeypatch):
    task, data, dense = digits
    seen = []

    monkeypatch.setattr(preparation, "find_blocks", lambda *_: ())
    monkeypatch.setattr(preparation, "choose_blocks", lambda *_: ("block",))
    monkeypatch.setattr(preparation, "_probe", lambda *_: sensitivity.Probe({}, {g.name: [] for g in dense.groups}))
    monkeypatch.setattr(preparation, "block_importance", lambda model, blocks, loss_of: {"block": loss_of(model)})
    monkeypatch.setattr(
        preparation.evaluation, "loss_of", lambda task, model, batch: seen.append(Counter(batch[1].tolist())) or 0.0
    )
    monkeypatch.setattr(preparation, "first_candidates", lambda *_: [])
    preparation.prepare_search(task, by_class(data), dense, Candidate(blocks={"block": 0}))
    assert len(seen[0]) == 10
