"""The Pareto page, in a real Chromium, on a real search."""

import json

import onnxruntime
import pytest
import requests
from browser import Browser, needs_chromium
from conftest import wait_until
from test_run import digits  # noqa: F401  (a fixture)

from autoprune.experiment.results import load_experiment


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def shown_points(browser) -> int:
    """Return how many candidates the plot of the front draws."""
    script = "(document.getElementById('front').data || []).find(trace => trace.name === 'candidates')?.x.length || 0"
    return browser.evaluate(script)


def place_of(browser, trial: str) -> tuple[float, float]:
    """Return where in the window the plot draws a trial of the front."""
    script = f"""(() => {{
        const plot = document.getElementById('front');
        plot.scrollIntoView();
        const trace = plot.data.find(each => each.name === 'Pareto front');
        const i = trace.customdata.indexOf({json.dumps(trial)});
        const {{ xaxis, yaxis }} = plot._fullLayout;
        const box = plot.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]), box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
    }})()"""
    return browser.evaluate(script)


@pytest.mark.browser
@pytest.mark.timeout(500)  # a real search and an export, perhaps on a busy machine
@needs_chromium
def test_points_appear_while_a_search_runs_and_a_clicked_one_is_exported(nni_home, digits, browser):  # noqa: F811
    config = digits(maxTrialNumber=10)
    task = nni_home.home / "quick.py"
    task.write_text(task.read_text().replace("steps=60", "steps=30"))
    assert nni_home.create(config).returncode == 0
    browser.open(f"http://127.0.0.1:{nni_home.port}/pareto")
    browser.wait_for("document.getElementById('progress').textContent.includes('0 of 10 trials')")
    wait_until(lambda: shown_points(browser), 150, "a point on the page")
    first = shown_points(browser)
    assert first < 4 or nni_home.status()["status"] == "DONE"
    nni_home.wait_for_status("DONE", seconds=150)
    browser.wait_for("document.getElementById('progress').textContent.startsWith('done, 10 of 10 trials, 0 failed')")
    assert shown_points(browser) == 4

    experiment = load_experiment(nni_home.folder)
    front = experiment.front()
    line = browser.evaluate("document.getElementById('front').data.find(t => t.name === 'Pareto front').customdata")
    assert line == [trial.id for trial in reversed(front)]  # by MACs, the smallest first
    names = browser.evaluate("document.getElementById('front').data.map(trace => trace.name)")
    assert {"dense model", "baseline l1_filter", "baseline lottery_ticket"} <= set(names)
    heat = browser.evaluate("(({ x, y, text }) => ({ x, y, text }))(document.getElementById('kept').data[0])")
    assert heat["x"] == list(experiment.trials[-1].record["channels"])
    assert heat["text"][0] == [f"{front[0].record['kept'][g]}/{n}" for g, n in front[0].record["channels"].items()]
    volumes = browser.evaluate("document.getElementById('volume').data[0].y")
    assert len(volumes) == 4
    assert volumes == sorted(volumes)

    chosen = front[len(front) // 2]
    browser.click(*place_of(browser, chosen.id))
    browser.wait_for(f"document.querySelector('#details dd')?.textContent === '{chosen.id}'", 10)
    browser.evaluate("document.getElementById('export').click()")
    browser.wait_for("document.getElementById('exported').dataset.state === 'done'", 100)
    exported = nni_home.folder / "exports" / chosen.id
    card = json.loads((exported / "model_card.json").read_text())
    assert card["trial"] == chosen.id
    link = browser.evaluate("[...document.querySelectorAll('#exported a')].find(a => a.text === 'model.onnx').href")
    model = requests.get(link, timeout=20).content
    assert model == (exported / "model.onnx").read_bytes()
    assert onnxruntime.InferenceSession(model).get_inputs()[0].shape[1:] == [1, 8, 8]

    check_choosing(browser, experiment)
    check_table(browser, experiment)
    check_nnis_own_page(browser, nni_home, experiment)
    assert browser.errors == []
    own = f"http://127.0.0.1:{nni_home.port}/"
    assert [url for url in browser.requests if not url.startswith((own, "data:", "blob:"))] == []


def check_choosing(browser, experiment):
    """Choose by rules, as a person does, with the keyboard's and the button's events."""

    def choose(rule):
        browser.evaluate(f"document.getElementById('rule').value = {json.dumps(rule)}")
        browser.evaluate("document.querySelector('#choose button').click()")
        if not browser.evaluate("document.getElementById('refused').hidden"):
            return browser.evaluate("document.getElementById('refused').textContent")
        return browser.evaluate("document.querySelector('#details dd').textContent")

    from autoprune.experiment.finish import choose_trial

    for rule in ("knee", f"macs<={experiment.dense['macs'] // 2}", "drop<=99%", experiment.candidates[0].id):
        assert choose(rule) == choose_trial(experiment, rule)[0].id
    assert choose("macs<=1") == "no trial satisfies macs<=1: loosen it, or search longer"


def check_table(browser, experiment):
    """Sort the table by accuracy and filter it."""
    rows = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.dataset.trial)"
    assert len(browser.evaluate(rows)) == 10
    browser.evaluate(
        "[...document.querySelectorAll('#trials th button')].find(b => b.textContent === 'accuracy').click()"
    )
    accuracies = {trial.id: trial.metrics["accuracy"] for trial in experiment.trials}
    ordered = [accuracies[trial] for trial in browser.evaluate(rows)]
    assert ordered == sorted(ordered, reverse=True)
    type_filter = "document.getElementById('filter').value = 'l1 filter'"
    browser.evaluate(f"{type_filter}; document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert set(browser.evaluate(rows)) == {trial.id for trial in experiment.baselines["l1_filter"]}


def check_nnis_own_page(browser, nni_home, experiment):
    """NNI's web UI shows accuracy first, the columns that a pruning user needs, and its icons."""
    browser.open(f"http://127.0.0.1:{nni_home.port}/detail")
    trial = experiment.candidates[0]
    browser.wait_for(f"document.body.innerText.includes({json.dumps(trial.id)})")
    headings = browser.evaluate("[...document.querySelectorAll('[role=columnheader]')].map(each => each.innerText)")
    assert {"criterion (space)", "accuracy (metric)", "params (metric)", "macs (metric)"} <= set(
        map(str.strip, headings)
    )
    cells = browser.evaluate("[...document.querySelectorAll('[role=gridcell]')].map(each => each.innerText.trim())")
    assert f"{trial.metrics['accuracy']:.4f}".rstrip("0") in cells
    icon = "getComputedStyle(document.querySelector('i[data-icon-name=Search]'), '::before').maskImage"
    assert "data:image/svg+xml" in browser.evaluate(icon)
    latest = nni_home.api("metric-data-latest").json()[0]  # what others ask stays what the trial said
    assert json.loads(json.loads(latest["data"])).keys() >= {"default", "accuracy"}
    assert browser.evaluate("document.getElementById('autoprune-front').href").endswith("/pareto/")


def test_an_export_takes_a_trials_id_and_nothing_else(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=1)).returncode == 0
    nni_home.wait_for_status("DONE")
    url = f"http://127.0.0.1:{nni_home.port}/api/v1/autoprune/exports"
    (trial,) = nni_home.trials()

    def ask(content, **headers):
        return requests.post(url, data=content, headers={"Content-Type": "application/json"} | headers, timeout=20)

    for word in ("../../x", "--help", "a b", "", None, 7, ["x"], {"x": 1}, f"{trial}/.."):
        assert ask(json.dumps({"trial": word})).status_code == 400
    assert ask(json.dumps({"trial": "nobody"})).status_code == 404
    assert ask(json.dumps({"trial": trial})).status_code == 404  # it ended, but has no model
    assert ask(json.dumps({"trial": trial}), **{"Content-Type": "text/plain"}).status_code == 415
    assert ask(json.dumps({"trial": trial}), Origin="http://evil.example").status_code == 403
    assert not (nni_home.folder / "exports").exists()

    exports = nni_home.folder / "exports" / trial
    exports.mkdir(parents=True)
    (exports / "model.onnx").write_text("a model")
    assert requests.get(f"{url}/{trial}/model.onnx", timeout=20).content == b"a model"
    for path in ("..%2f..%2fdb%2fnni.sqlite", "%2e%2e", "nothing", "model.onnx%00"):
        assert requests.get(f"{url}/{trial}/{path}", timeout=20).status_code in (400, 404)
