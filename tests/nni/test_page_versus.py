"""Another search beside the one that a page shows."""

import json
import sqlite3
from contextlib import closing

import pytest
from browser import Browser, needs_chromium
from made_search import make_search
from page_site import served

from autoprune.finalize.choice import choose_trial
from autoprune.nni.database import load_experiment
from autoprune.nni.page_data import Pages
from autoprune.report.progress import hypervolume_by_trial


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a search, beside which there are others that NNI knows; and one elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / "nni-experiments"
    for i, (key, where) in enumerate([("this1234", place), ("other123", place), ("away1234", tmp_path / "away")]):
        make_search(where / key, groups=2, candidates=6, seed=i)
    known = {key: {"logDir": str(place), "startTime": i} for i, key in enumerate(["this1234", "other123", "gone1234"])}
    known |= {"away1234": {"logDir": str(tmp_path / "away")}, "../away/away1234": {"logDir": str(place)}}
    known["other123"]["experimentName"] = "other <b>one</b>"
    reconfigure(place / "other123", experimentName="other <b>one</b>")
    (place / ".experiment").write_text(json.dumps(known))
    return place / "this1234"


def ask(folder, question, **more):
    status, text = Pages(folder).answer({"ask": question, **more})
    return status, json.loads(text)


def reconfigure(folder, **changes):
    with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as database, database:
        ((text,),) = database.execute("select params from ExperimentProfile")
        database.execute("update ExperimentProfile set params = ?", (json.dumps(json.loads(text) | changes),))


def test_the_searches_of_the_same_folder_are_offered_and_no_path_leads_elsewhere(folder):
    assert ask(folder, "searches") == (200, [{"id": "other123", "name": "other <b>one</b>"}])
    for other in ("away1234", "../away/away1234", "this1234", "gone1234", "", "other123/"):
        status, answer = ask(folder, "beside", other=other)
        assert status == 422 and "no other search" in answer["error"]
    assert ask(folder, "beside", other=["other123"])[0] == 400


def test_two_searches_are_compared_at_like_sizes_and_over_one_reference(folder):
    status, found = ask(folder, "beside", other="other123")
    assert (status, found["alike"], found["notes"]) == (200, True, [])
    both = [load_experiment(each) for each in (folder, folder.parent / "other123")]
    summary = {title: texts for title, *texts in found["summary"]}
    assert summary["on the front"] == [str(len(each.front())) for each in both]
    volumes = [f"{hypervolume_by_trial(each)[-1]:.4f}" for each in both]  # their dense models are the same
    assert summary["hypervolume of accuracy and MACs"] == volumes
    for experiment, text in zip(both, summary["chosen network"], strict=True):
        trial, reason = choose_trial(experiment, None)
        assert text.startswith(f"{trial.id} ({reason}): {100 * trial.quality:.2f} % at ")
    assert found["fronts"]["accuracy macs"] == [trial.id for trial in both[1].front()]
    half = next(row for row in found["sizes"] if row[0].startswith("50 % "))
    for experiment, text in zip(both, half[1:3], strict=True):
        small = [trial for trial in experiment.front() if trial.measures["macs"] <= 10_000_000]
        best = max((trial.measures["accuracy"] for trial in small), default=None)
        assert text.startswith(f"{100 * best:.2f} %" if best else "-")


def judge_by_error(folder):
    """Let a search have errors where it had accuracies."""
    tuner = {"classArgs": {"objectives": ["error", "macs"]}}
    reconfigure(folder, trialCommand="autoprune trial digits --metric error:minimize:number", tuner=tuner)
    for file in folder.rglob("result.json"):
        file.write_text(file.read_text().replace("accuracy", "error"))
    with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as database, database:
        database.execute("update MetricData set data = replace(data, 'accuracy', 'error')")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"tuner": {"classArgs": {"objectives": ["accuracy", "params"]}}},
            "It searched for accuracy and parameters, this",
        ),
        ({"trialCommand": "autoprune trial cifar10"}, "It pruned cifar10, this one digits: what they reach does not"),
    ],
)
def test_what_does_not_compare_is_said(folder, changes, note):
    reconfigure(folder.parent / "other123", **changes)
    found = ask(folder, "beside", other="other123")[1]
    assert any(each.startswith(note) for each in found["notes"]), found["notes"]
    assert found["alike"] == ("cifar10" in str(changes))
    assert bool(found["sizes"]) == found["alike"] == bool(found["fronts"])


def test_searches_that_are_judged_otherwise_are_not_compared(folder):
    judge_by_error(folder.parent / "other123")
    found = ask(folder, "beside", other="other123")[1]
    assert found["notes"] == ["It is judged by error, this one by accuracy: the fronts cannot be compared."]
    assert (found["alike"], found["fronts"], found["sizes"]) == (False, {}, [])
    assert dict(each[::2] for each in found["summary"])["dense model"] == "0.95 at 20.0 M MACs"


@pytest.mark.browser
@needs_chromium
def test_the_front_of_another_search_is_drawn_beside_this_ones(folder, tmp_path):
    names = "document.getElementById('front').data.map(trace => trace.name)"
    other = "front of other &lt;b&gt;one&lt;/b&gt; (other123)"
    choose = (
        "(id => { const s = document.getElementById('other'); s.value = id; s.dispatchEvent(new Event('change')); })"
    )
    browser = Browser(tmp_path / "profile")
    try:
        with served(folder, tmp_path / "site.log") as site:
            browser.open(site.url)
            browser.wait_for("document.getElementById('versus-section').checkVisibility()", 30)
            browser.evaluate(f"{choose}('other123')")
            browser.wait_for(f"{names}.includes({json.dumps(other)})", 20)
            text = browser.evaluate("document.getElementById('versus').innerText")
            assert "other <b>one</b> (other123)" in text and "50 % (10.0 M)" in text
            browser.evaluate(f"{choose}('')")
            browser.wait_for(f"!{names}.includes({json.dumps(other)})", 20)
            assert browser.evaluate("document.getElementById('versus').children.length") == 0
            assert browser.errors == []
    finally:
        browser.close()
