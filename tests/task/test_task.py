import importlib
import multiprocessing
import pickle
import sys

import pytest
import torch

from autoprune.errors import UserError
from autoprune.task.find import load_task

OWN = """
import torch, autoprune
from torch.utils.data import TensorDataset
def data():
    x = torch.randn(32, 4)
    return autoprune.Splits(*[TensorDataset(x, (x.sum(1) > 0).long())] * 3)
def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
task = autoprune.Task("own", net, data, torch.zeros(1, 4))
other = autoprune.Task("other", net, data, torch.zeros(1, 4))
number = 3
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "my_own_task.py"
    file.write_text(OWN)
    return file


def test_a_built_in_task_is_found_by_name():
    assert load_task("digits").name == "digits"


def test_a_task_of_ones_own_is_found_in_a_file_or_a_module(own, monkeypatch):
    assert load_task(str(own)).name == "own"
    assert load_task(f"{own}:other").name == "other"
    monkeypatch.syspath_prepend(own.parent)
    assert load_task("my_own_task:other").name == "other"


@pytest.mark.parametrize(
    "reference, message",
    [
        ("digit", "unknown task 'digit': did you mean digits"),
        ("xyz", "the built-in tasks are digits, fashion_mnist"),
        ("nowhere.py", "task file nowhere.py does not exist"),
        ("no_such_module:task", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_an_unknown_task_is_refused_with_the_near_matches(reference, message):
    with pytest.raises(UserError, match=message):
        load_task(reference)


def test_a_file_of_a_package_is_told_the_name_that_it_goes_by(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets" / "small").mkdir(parents=True)
    (tmp_path / "nets" / "small" / "net.py").write_text("from .layers import Block")
    with pytest.raises(UserError, match="relative import.*: it belongs to a package, name it nets.small.net:NAME$"):
        load_task("nets/small/net.py:Net")


def test_a_task_file_imports_its_neighbours_now_and_later(own, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    own.write_text(
        "from neighbour_now import side\n" + OWN + "def later():\n    import neighbour_later as n\n    return n\n"
    )
    (own.parent / "neighbour_now.py").write_text("side = 4\n")
    (own.parent / "neighbour_later.py").write_text("")
    monkeypatch.chdir(own.parent)
    task = load_task(own.name)
    monkeypatch.chdir("/")
    later = sys.modules[task.data.__module__].later
    assert later().__name__ == "neighbour_later"
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(later_in_a_worker, (task.data.__module__,)) == "neighbour_later"


def later_in_a_worker(module: str) -> str:
    return sys.modules[module].later().__name__


@pytest.mark.parametrize("name", ["json.py", "random.py", "torch.py", "colorsys.py"])
def test_a_task_file_with_the_name_of_a_library_takes_no_ones_place(own, monkeypatch, name):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = sys.modules.get(name[:-3])
    file = own.rename(own.with_name(name))
    assert load_task(str(file)).name == "own"
    assert sys.modules.get(name[:-3]) is before
    if not before:  # nobody has imported it yet
        assert not hasattr(importlib.import_module(name[:-3]), "task")


def test_what_a_task_file_defines_can_be_pickled(own):
    task = load_task(str(own))
    assert pickle.loads(pickle.dumps(task.data)) is task.data


def test_two_task_files_of_one_name_do_not_mix(own, tmp_path):
    other = tmp_path / "elsewhere" / own.name
    other.parent.mkdir()
    other.write_text(OWN.replace('"own"', '"elsewhere"'))
    first, second = load_task(str(own)), load_task(str(other))
    assert (first.name, second.name) == ("own", "elsewhere")
    assert pickle.loads(pickle.dumps(first.data)) is first.data


def test_a_file_without_a_task_is_refused(own):
    with pytest.raises(UserError, match="'number' in .* is not an autoprune Task"):
        load_task(f"{own}:number")
    with pytest.raises(UserError, match="'none' in .* does not exist"):
        load_task(f"{own}:none")


def test_a_missing_data_set_gives_one_line_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_DATA", str(tmp_path))
    with pytest.raises(UserError, match="Fashion-MNIST is not in .*download=True.*AUTOPRUNE_DATA") as caught:
        load_task("fashion_mnist").data()
    assert "\n" not in str(caught.value)


def test_the_same_seed_builds_the_same_weights():
    task = load_task("digits")
    a, b, c = task.build(0), task.build(0), task.build(1)
    assert torch.equal(a.hidden.weight, b.hidden.weight)
    assert not torch.equal(a.hidden.weight, c.hidden.weight)


def test_the_splits_of_digits_share_no_image():
    data = load_task("digits").data()
    images = [{tuple(image.flatten().tolist()) for image, _ in split} for split in data]
    assert [len(split) for split in data] == [1077, 360, 360]
    assert not images[0] & images[1] and not images[0] & images[2] and not images[1] & images[2]
