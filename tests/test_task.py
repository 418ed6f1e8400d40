import pytest
import torch

from autoprune.errors import UserError
from autoprune.task import load_task

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
