"""What the page in the browser is told and draws of what a search learned, and of the network."""

import json
import time
from xml.etree import ElementTree

import pytest
from browser import Browser, needs_chromium
from conftest import wait_until
from made_search import make_search, served

from autoprune.nni.learned_data import Learned
from autoprune.nni.page_data import Pages


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def answer(pages, **question):
    status, text = pages.answer(question)
    return status, json.loads(text)


def wait_for_learned(pages):
    def ready():
        found = answer(pages, ask="learned", known="")[1]
        return found if not found["working"] else None

    return wait_until(ready, 60, "what was learned")


def test_what_was_learned_is_worked_out_beside_the_answers_and_sent_once(tmp_path):
    folder = make_search(tmp_path / "made1234", groups=2, candidates=6)
    pages = Pages(folder)
    try:
        assert answer(pages, ask="learned", known="") == (200, {"of": "", "working": True})
        assert answer(pages, ask="page")[0] == 200  # nobody waits
        found = wait_for_learned(pages)
        assert [section["id"] for section in found["sections"]] == ["importance", "parallel", "slices", "sensitivity"]
        assert answer(pages, ask="learned", known=found["of"])[1] == {"of": found["of"], "working": False}
        (folder / "log").mkdir()
        (folder / "log" / "sensitivity.json").write_text('{"stem": [[0, NaN]]}')
        assert answer(pages, ask="learned", known=found["of"])[1] == {"of": found["of"], "working": True}
    finally:
        pages.close()


def test_processes_take_a_fifth_of_the_time_at_most_and_a_fault_is_said_in_one_line(tmp_path, capfd):
    now = [0.0]
    latest = Learned(tmp_path / "nowhere", lambda: now[0])  # no experiment there: a known fault
    try:
        assert latest.latest("1") == {"of": "", "working": True}
        wait_until(lambda: latest._process.poll() is not None, 60, "its end")
        now[0] = 10.0
        found = latest.latest("2")
        assert found["error"].startswith("experiment nowhere has no database at ")
        assert (found["of"], found["working"]) == ("1", True)
        now[0] = 49.0
        latest.latest("2")
        assert latest._process is None
        now[0] = 51.0
        latest.latest("2")
        assert latest._process is not None
    finally:
        latest.close()


def test_the_network_of_a_trial_is_drawn_and_of_none_the_dense_one(tmp_path):
    folder = make_search(tmp_path / "made1234", groups=3, candidates=2)
    pages = Pages(folder)
    (status, dense), (_, pruned) = (answer(pages, ask="network", trial=each) for each in ("", "t1"))
    assert status == 200
    assert (dense["title"], pruned["title"]) == ("Dense model", "Trial t1")
    assert dense["settled"] is True
    assert "→" not in dense["svg"] and "→" in pruned["svg"]
    assert len(ElementTree.fromstring(pruned["svg"]).findall("{*}g[@role='listitem']")) == 7
    assert answer(pages, ask="network", trial="nobody")[0] == 422
    for name in ("t1/result.json", "t0/network.json"):  # a trial on another machine, a search of an earlier version
        next(folder.rglob(name)).unlink()
    pages = Pages(folder)
    assert "is not known here" in answer(pages, ask="network", trial="t1")[1]["refused"]
    assert answer(pages, ask="network")[1]["settled"] is False


@pytest.mark.browser
@needs_chromium
@pytest.mark.slow
def test_the_sections_are_drawn_and_the_drawing_follows_the_selected_trial(tmp_path, browser):
    folder = make_search(tmp_path / "made1234", groups=12, candidates=40, layers=3)
    with served(folder) as url:
        browser.open(url)
        browser.wait_for("document.querySelectorAll('#learned section').length === 4")
        drawn = "[...document.querySelectorAll('#learned .js-plotly-plot')].map(each => each.id)"
        assert browser.evaluate(drawn) == []  # nobody has seen them yet
        for section in ("importance", "parallel", "slices", "sensitivity"):
            browser.evaluate(f"document.getElementById('learned-{section}').scrollIntoView()")
            browser.wait_for(
                f"[...document.querySelectorAll('#learned-{section} [role=img]')].every(each => each.data)", 20
            )
        shown = browser.evaluate(drawn)
        assert shown[:3] == ["importance", "parallel", "slices"]
        assert shown[-1] == "sensitivity"
        bars = browser.evaluate(
            "(({ y, x }) => y.map((each, i) => [each, x[i]]))(document.getElementById('importance').data[0])"
        )
        assert [name for name, _ in bars[:2]] == ["stage0.0.conv1", "criterion"]
        assert browser.evaluate("document.getElementById('sensitivity').data[0].type") == "heatmap"
        assert "dense network" in browser.evaluate("document.querySelector('#learned-sensitivity h2').textContent")
        names = browser.evaluate("[...document.querySelectorAll('#learned [role=img]')].map(e => e.ariaLabel)")
        assert all(names)

        rows = "[...document.querySelectorAll('#network [role=listitem]')]"
        browser.evaluate("document.getElementById('network').scrollIntoView()")
        browser.wait_for(f"{rows}.length === 37")
        assert browser.evaluate(f"{rows}.filter(each => each.ariaLabel.includes(' of ')).length") == 0
        browser.evaluate("document.querySelector('#trials tr[data-trial=t7]').click()")
        browser.wait_for("document.querySelector('#network h2').textContent.endsWith('trial t7')")
        kept = json.loads(next(folder.rglob("t7/result.json")).read_text())["kept"]
        left, whole = kept["stage0.0.conv1"], 16
        said = browser.evaluate(f"{rows}[0].ariaLabel")
        assert (f"{left} of {whole} channels kept" if left < whole else f"{whole} channels") in said

        browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        time.sleep(0.3)
        ends = "Math.max(...[...document.querySelectorAll('#network text')].map(e => e.getBoundingClientRect().right))"
        assert browser.evaluate(ends) <= 390
        assert browser.evaluate("document.querySelector('#network .drawing').scrollHeight > 1500")  # it scrolls inside
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        color = "getComputedStyle(document.querySelector('#network rect + rect')).fill"
        light = browser.evaluate(color)
        browser.call("Emulation.setEmulatedMedia", features=dark)
        assert browser.evaluate(color) != light
    assert browser.errors == []
