"""A journal that was cut, garbled or deleted: the search goes on from its last whole line, else from NNI's results."""

import random

import pytest
from problem import SPACE, judge, prepared

from autoprune.search.distributions import rounded
from autoprune.search.halving import rung_of
from autoprune.search.tuners.optuna.storage import set_aside
from autoprune.search.tuners.optuna.tuner import OptunaTuner


def resume(journal, results) -> OptunaTuner:
    """Make a tuner as a resumed experiment does: it hears of the results first, then of what was prepared."""
    tuner = OptunaTuner(storage=str(journal))
    tuner.update_search_space(SPACE)
    tuner.resume([(parameters, judge(parameters)) for parameters in results])
    tuner.prepare([prepared()])
    return tuner


def go_on(tuner, results, trials, number=1000) -> list[dict]:
    """Run some more trials, the last two of which are left running; return the results of all."""
    for id_ in range(number, number + trials):
        parameters = tuner.ask(id_)
        if id_ < number + trials - 2:
            tuner.tell(id_, parameters, judge(parameters))
            results = [*results, parameters]
    return results


def told(tuner) -> list:
    return [
        (rung, tuple(sorted(rounded(trial.params).items())))
        for rung, study in enumerate(tuner.studies)
        for trial in study.get_trials()
        if trial.state.name == "COMPLETE" and trial.user_attrs.get("measures")
    ]


def points(results) -> set:
    plain = [({k: v for k, v in each.items() if k != "budget"}, rung_of(each)) for each in results]
    return {(rung, tuple(sorted(rounded(parameters).items()))) for parameters, rung in plain}


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """The journal of 16 trials, two of which still ran, and the results of the others."""
    journal = tmp_path_factory.mktemp("search") / "optuna.journal"
    results = go_on(resume(journal, []), [], 16)
    return journal.read_bytes(), results


def cut(content, rng):
    return content[: rng.randrange(len(content))]


def garble(content, rng):
    start = rng.randrange(len(content) - 40)
    return content[:start] + rng.randbytes(rng.randrange(1, 40)) + content[start + 40 :]


def leave_lines_out(content, rng):
    lines = content.splitlines(keepends=True)
    start = rng.randrange(len(lines) - 1)
    return b"".join(lines[:start] + lines[start + rng.randrange(1, 4) :])


def change_digits(content, rng):
    changed = bytearray(content)
    for _ in range(3):
        place = rng.choice([i for i, byte in enumerate(changed) if chr(byte).isdigit()])
        changed[place] = ord(str(rng.randrange(10)))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", [cut, garble, leave_lines_out, change_digits])
def test_a_search_goes_on_from_a_damaged_journal_with_every_result(search, tmp_path, damage, seed):
    content, results = search
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(damage(content, random.Random(seed)))
    tuner = resume(journal, results)
    results = go_on(tuner, results, 6)
    assert points(results) <= set(told(tuner))
    again = resume(journal, results)  # and what it wrote since is whole
    assert points(results) <= set(told(again))


@pytest.mark.parametrize("content", [None, b"", b"\0" * 500, b"[]\n[]\n", b'{"op_code": "x"}\n'])
def test_a_journal_that_is_gone_or_no_journal_begins_anew_from_nni_s_results(search, tmp_path, content):
    results = search[1]
    journal = tmp_path / "optuna.journal"
    if content is not None:
        journal.write_bytes(content)
    tuner = resume(journal, results)
    assert points(results) <= set(told(tuner))
    assert points(go_on(tuner, results, 6)) <= set(told(tuner))
    if content:
        assert set_aside(journal).read_bytes() == content


@pytest.mark.parametrize("damage", [cut, None])
def test_a_journal_that_is_cut_or_deleted_while_in_use_is_written_again(tmp_path, damage):
    journal = tmp_path / "optuna.journal"
    tuner = resume(journal, [])
    results = go_on(tuner, [], 10)
    if damage:
        journal.write_bytes(damage(journal.read_bytes(), random.Random(0)))
    else:
        journal.unlink()
    results = go_on(tuner, results, 10, number=2000)
    assert points(results) <= set(told(tuner))
    assert set(told(resume(journal, []))) == set(told(tuner))
