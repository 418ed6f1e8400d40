"""`autoprune groups`: of a task, of a bare model, and with what the task loses."""

import io
import sys

import pytest

from autoprune import cli
from autoprune.errors import UserError
from autoprune.task.find import load_task_or_model


@pytest.fixture
def printed(monkeypatch, capsys):
    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["autoprune", "groups", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    return run


def test_a_bare_model_needs_no_task(printed):
    table = printed("torchvision.models:resnet18", "--shape", "1,3,64,64")
    assert "layer4.1.conv1" in table
    assert "left alone: fc: it is the model's output" in table


def test_sensitivity_is_the_accuracy_lost_without_half_of_a_group(printed):
    table = printed("digits", "--sensitivity")
    assert "lost without half" in table
    rows = [line for line in table.splitlines() if "%" in line]
    lost = [float(row.split()[-1]) for row in rows]
    assert len(lost) == 4 and all(-0.05 < value <= 1 for value in lost)
    assert max(lost) == lost[0] > 0.05  # the residual stream matters most


@pytest.mark.parametrize(
    "reference, shape, message",
    [
        ("torchvision.models:resnet18", "x", "--shape 'x' is not a shape"),
        ("torchvision.models:resnet_18", "1,3,64,64", "does not exist"),
        ("no_such_module:net", "1,3", "cannot be imported"),
    ],
)
def test_what_is_no_model_is_refused(reference, shape, message):
    with pytest.raises(UserError, match=message):
        load_task_or_model(reference, shape)


def test_a_bare_model_is_given_random_numbers():
    _, example = load_task_or_model("torchvision.models:resnet18", "1,3,8,8")
    assert example.shape == (1, 3, 8, 8)
    assert example.std() > 0.5


def test_on_a_terminal_the_finding_of_groups_says_what_it_does_and_elsewhere_nothing(printed, monkeypatch, capsys):
    from autoprune.report import terminal

    shown = io.StringIO()
    monkeypatch.setattr(terminal, "side_console", lambda: terminal.Console(file=shown, force_terminal=True, width=100))
    printed("digits")
    assert "Finding which channels go together" in shown.getvalue()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["autoprune", "groups", "digits"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Finding" not in capsys.readouterr().err
