"""What is shown while something takes long."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from autoprune.base.progress import note, track
from autoprune.report import waiting as module
from autoprune.report.waiting import noted, time_left, waiting


@pytest.fixture
def now(monkeypatch):
    """The time, in seconds; it stands still unless ``now.seconds`` is set."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.seconds)  # the time module's: of stages too
    return clock


def work(now, seconds):
    for _ in track("ab", "recipe", 2):
        for _ in track(range(5), "training step", 5):
            now.seconds += seconds


def test_a_log_gets_a_line_every_ten_seconds(now):
    console = Console(file=io.StringIO(), width=40)
    with waiting(console, "Searching [a] recipe"):
        work(now, 4)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "Searching [a] recipe: recipe 0 of 2, training step 3 of 5, about 8 s left",
        "Searching [a] recipe: recipe 1 of 2, training step 1 of 5, about 24 s left",
        "Searching [a] recipe: recipe 1 of 2, training step 4 of 5, about 36 s left",
    ]


def test_what_is_quick_leaves_the_log_alone(now):
    console = Console(file=io.StringIO())
    with waiting(console, "Training"):
        work(now, 0.5)
    assert console.file.getvalue() == ""


def test_a_terminal_has_a_bar_for_each_stage_and_none_at_the_end():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with waiting(console, "Training the dense model"):
        for _ in track(range(3), "training step", 3):
            pass
        for _ in track(range(2), "fine-tuning", 2):
            shown = module.bars(console)
    assert shown.console is console
    assert "Training the dense model ..." in console.file.getvalue()
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")  # the last is erased


def test_the_time_left_in_words():
    assert [time_left(each) for each in (None, 42, 112)] == ["", ", about 42 s left", ", about 1 min 52 s left"]


def test_a_note_for_others_is_there_while_it_lasts(now, tmp_path):
    file, seen = tmp_path / "progress.txt", []
    with noted(file):
        for _ in track(range(4), "training step", 4):
            now.seconds += 1
            seen.append(file.read_text() if file.exists() else None)
    assert seen == [None, None, "training step 2 of 4, about 2 s left", "training step 2 of 4, about 2 s left"]
    assert not file.exists()
    with pytest.raises(ZeroDivisionError), noted(file):
        1 / 0  # noqa: B018


def test_a_narrow_terminal_shows_step_note_speed_and_time_left_in_full(now, monkeypatch):
    file, made, make = io.StringIO(), [], module.bars
    monkeypatch.setattr(module, "bars", lambda *given: made.append(make(*given)) or made[-1])
    console = Console(file=file, force_terminal=True, width=80, _environ={})
    with waiting(console, "Training the dense model, or taking it from the cache"):
        for step in track(range(4000), "training step", 4000):
            note("loss {:.3g}".format, 0.41234)
            now.seconds += 0.05
            if step == 2000:
                made[0].refresh()
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "Training the dense model, or taking it from the cache ..." in said
    assert re.search(r"training step \d+ of 4000, loss 0.412, 20/s, about \S+ (s|min \S+ s) left", said)
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
