"""A fingerprint is the same for the same content and code in every process, and another for any other."""

import subprocess
import sys
from dataclasses import make_dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset

from autoprune.base.fingerprint import fingerprint, fingerprint_data
from autoprune.prune.dense import training_key
from autoprune.task.find import load_task
from autoprune.task.recipe import Recipe


def made_of(source: str, name: str = "f"):
    namespace = {"__name__": "theirs", "torch": torch, "F": F}
    exec(source, namespace)
    return namespace[name]


SAME = {
    "where it stands": ("def f(x):\n    return x + 1", "\n\n\ndef f(x):\n    # one more\n    return x + 1"),
    "a global that it does not use": ("A = 1\ndef f(x):\n    return x", "A = 2\ndef f(x):\n    return x"),
}
OTHER = {
    "a constant": ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
    "a name": ("def f(x):\n    return F.relu(x)", "def f(x):\n    return F.gelu(x)"),
    "a default": ("def f(x, by=1):\n    return x", "def f(x, by=2):\n    return x"),
    "a global": ("A = 1\ndef f(x):\n    return x * A", "A = 2\ndef f(x):\n    return x * A"),
    "a function that it calls": (
        "def g(x):\n    return x\ndef f(x):\n    return g(x)",
        "def g(x):\n    return -x\ndef f(x):\n    return g(x)",
    ),
    "a closure": (
        "def g(a):\n    return lambda x: x * a\nf = g(1)",
        "def g(a):\n    return lambda x: x * a\nf = g(2)",
    ),
    "one of two lambdas on a line": ("f, g = lambda x: x, lambda x: -x", "g, f = lambda x: x, lambda x: -x"),
    "a method": ("class f:\n    def m(self):\n        return 1", "class f:\n    def m(self):\n        return 2"),
    "a tensor": ("f = torch.zeros(3)", "f = torch.zeros(3, dtype=torch.float64)"),
    "a sum of two texts": ("f = ['ab', 'c']", "f = ['a', 'bc']"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_what_decides_nothing_does_not_count(one, other):
    assert fingerprint(made_of(one)) == fingerprint(made_of(other))


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_what_decides_counts(one, other):
    assert fingerprint(made_of(one)) == fingerprint(made_of(one)) != fingerprint(made_of(other))


def test_partials_and_objects_that_are_called_count_by_what_they_hold():
    assert fingerprint(partial(F.cross_entropy, label_smoothing=0.1)) != fingerprint(partial(F.cross_entropy))
    assert fingerprint(nn.CrossEntropyLoss()) == fingerprint(nn.CrossEntropyLoss())
    assert fingerprint(nn.CrossEntropyLoss(ignore_index=1)) != fingerprint(nn.CrossEntropyLoss())


def test_a_modules_settings_count_and_the_numbers_of_its_hooks_do_not():
    def hooked():
        torch.manual_seed(0)
        return nn.utils.spectral_norm(nn.Linear(3, 3))

    assert fingerprint(nn.Dropout(0.1)) != fingerprint(nn.Dropout(0.2))
    assert fingerprint(hooked()) == fingerprint(hooked())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_module_counts_by_its_code_and_its_weights():
    def scripted(act, fill=0.0):
        module = nn.Sequential(nn.Linear(2, 2), act)
        nn.init.constant_(module[0].weight, fill)
        nn.init.zeros_(module[0].bias)
        return fingerprint(torch.jit.script(module))

    assert scripted(nn.ReLU()) == scripted(nn.ReLU())
    assert len({scripted(nn.ReLU()), scripted(nn.GELU()), scripted(nn.ReLU(), 1.0)}) == 3


def test_a_cycle_is_read_to_its_end():
    one, other = [1], [1]
    one.append(one)
    other.append(other)
    assert fingerprint(one) == fingerprint(other) != fingerprint([1, [1]])


def test_a_new_field_with_a_default_renames_nothing():
    old = make_dataclass("Told", [("steps", int), ("rate", float, 0.1)])
    new = make_dataclass("Told", [("steps", int), ("rate", float, 0.1), ("more", tuple, ())])
    for each in (old, new):
        each.__module__ = "autoprune.task.task"
    assert fingerprint(old(3)) == fingerprint(new(3)) != fingerprint(new(3, more=(1,)))
    assert fingerprint(Recipe(3)) == fingerprint(Recipe(3, optimizer="sgd")) != fingerprint(Recipe(3, optimizer="adam"))


class Files(Dataset):
    """More examples than are read, each in a file that the data set names."""

    def __init__(self, folder: Path):
        self.files = [str(folder / f"{i}.txt") for i in range(40)]

    def __len__(self):
        return 1000 * len(self.files)

    def __getitem__(self, i):
        return torch.tensor([1.0]), 0


def test_a_file_that_data_is_read_from_counts_though_its_examples_are_not_all_read(tmp_path, monkeypatch):
    monkeypatch.setattr("autoprune.base.fingerprint.MOST", 300)
    for name in Files(tmp_path).files:
        Path(name).write_text("1")
    before = fingerprint_data(Files(tmp_path))
    assert fingerprint_data(Files(tmp_path)) == before
    (tmp_path / "33.txt").write_text("22")
    assert fingerprint_data(Files(tmp_path)) != before


class Lines(IterableDataset):
    """A stream of lines of files, which all begin alike; it counts how often it was begun."""

    def __init__(self, *files):
        self.files, self.begun, self.open = [str(file) for file in files], 0, None

    def __iter__(self):
        self.begun += 1
        for file in self.files:
            with Path(file).open() as self.open:
                for line in self.open:
                    yield torch.tensor([float(line)]), 0


def test_a_stream_counts_by_what_it_reads_from_and_is_left_as_it_was(tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    for file in (one, other):
        file.write_text("1\n" * 300)
    stream = Lines(one)
    before = fingerprint_data(stream)
    assert (stream.begun, stream.open) == (0, None)
    list(stream)  # how often it was read is no part of what it is
    assert fingerprint_data(stream) == fingerprint_data(Lines(one)) == before
    assert fingerprint_data(Lines(other)) != before
    one.write_text("1\n" * 299 + "2\n")
    assert fingerprint_data(Lines(one)) != before


TASK = """
import random
import autoprune, torch, neighbour
from torch import nn
from torch.utils.data import Dataset, IterableDataset
LABELS = {"cat", "dog", "bird", "fish"}
class Noisy(Dataset):
    names = LABELS
    def __init__(self):
        self.transforms = [neighbour.jitter, lambda x: x + torch.rand(())]
    def __len__(self):
        return 40
    def __getitem__(self, i):
        x = torch.full((4,), float(i))
        for transform in self.transforms:
            x = transform(x)
        return x, i % 2
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.act, self.seen = nn.Linear(4, 2), nn.functional.gelu, object()
    def forward(self, x):
        return neighbour.scaled(self.act(self.net(x)))
def loss(outputs, batch):
    return len(LABELS) * nn.functional.cross_entropy(outputs, batch[1])
task = autoprune.Task("noisy", Net, lambda: autoprune.Splits(*[Noisy()] * 3), torch.zeros(1, 4), loss=loss)
"""
NEIGHBOUR = """
import random
def jitter(x):
    return x + random.random()
def scaled(x):
    return 2 * x
"""
KEY = """
import sys
from autoprune.prune.dense import training_key
from autoprune.task.find import load_task
task = load_task(sys.argv[1])
print(training_key(task, task.data(), task.build(), 0, False))
"""


def test_two_processes_agree_on_a_key_and_a_neighbours_code_counts(tmp_path, monkeypatch):
    for folder, neighbour in (("one", NEIGHBOUR), ("two", NEIGHBOUR), ("three", NEIGHBOUR.replace("2 * x", "3 * x"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "noisy.py").write_text(TASK)
        (tmp_path / folder / "neighbour.py").write_text(neighbour)

    def key(folder: str) -> str:
        monkeypatch.setattr(sys, "path", [*path])
        monkeypatch.delitem(sys.modules, "neighbour", raising=False)
        task = load_task(str(tmp_path / folder / "noisy.py"))
        return training_key(task, task.data(), task.build(), 0, False)

    path = list(sys.path)
    environment = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "PATH": ""}
    words = [sys.executable, "-c", KEY, str(tmp_path / "one" / "noisy.py")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == key("two") != key("three"), done.stderr
