"""What is reported of stages under way, and to whom."""

import os

import pytest

from autoprune.base.progress import note, reported_to, track


def heard(work):
    """Return what a listener hears of ``work``: the stages at each call."""
    said = []
    with reported_to(lambda stages: said.append([(each.what, each.done, each.total) for each in stages])):
        work()
    return said


def test_stages_within_stages_are_reported_step_by_step():
    def work():
        for _ in track("ab", "recipe", 2):
            for _ in track([1], "step", 1):
                pass

    outer, inner = ("recipe", 0, 2), ("recipe", 1, 2)
    one = [[("step", 0, 1)], [("step", 1, 1)], []]
    assert heard(work) == [[outer], *[[outer, *each] for each in one], [inner], *[[inner, *each] for each in one],
                           [("recipe", 2, 2)], []]  # fmt: skip


def test_a_stage_that_is_left_early_is_over():
    def work():
        for step in track(range(9), "step", 9):
            if step == 1:
                break
        with pytest.raises(ZeroDivisionError):
            for step in track(range(9), "other", 9):
                1 / step

    assert heard(work) == [[("step", 0, 9)], [("step", 1, 9)], [], [("other", 0, 9)], []]


def test_nobody_listens_outside_and_in_forked_processes():
    items = [1, 2]
    assert track(items, "step", 2) is items
    with reported_to(pytest.fail):
        child = os.fork()
        if child == 0:
            os._exit(track(items, "step", 2) is not items)
    assert os.waitpid(child, 0)[1] == 0


def test_the_time_left_is_known_after_the_first_new_step(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("autoprune.base.progress.time.monotonic", lambda: now[0])
    left = []
    with reported_to(lambda stages: left.extend(each.seconds_left for each in stages)):
        for _ in track(range(2), "fine-tuning", 6, done=4):
            now[0] += 30
    assert left == [None, 30.0, 0.0]


def test_a_note_is_worked_out_only_when_it_is_shown():
    asked, said = [], []

    def words(value):
        asked.append(value)
        return f"loss {value}"

    note(pytest.fail)  # nobody listens
    with reported_to(lambda stages: said.extend(each.note() for each in stages if each.done == 2)):
        for step in track(range(3), "step", 3):
            note(words, step)
    assert said == ["loss 1"] and asked == [1]
