"""The Pareto page, in a real Chromium, on a real search."""

import json

import onnxruntime
import pytest
import requests
from browser import Browser, needs_chromium
from conftest import wait_until
from test_run import digits  # noqa: F401  (a fixture)

from autoprune.nni.database import load_experiment
from autoprune.report.rows import name
from autoprune.results.measures import MEASURES, METRIC, SIZES


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
@pytest.mark.slow
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
    said = "done, 10 of 10 trials done, 0 failed"
    browser.wait_for(f"document.getElementById('progress').textContent.startsWith('{said}')")

    experiment = load_experiment(nni_home.folder)
    front = experiment.front()
    assert len(experiment.candidates) >= 3
    assert shown_points(browser) == len(experiment.candidates)
    line = browser.evaluate("document.getElementById('front').data.find(t => t.name === 'Pareto front').customdata")
    assert line == [trial.id for trial in reversed(front)]  # by MACs, the smallest first
    names = browser.evaluate("document.getElementById('front').data.map(trace => trace.name)")
    assert {"dense model", "baseline l1_filter", "baseline lottery_ticket"} <= set(names)
    assert "baseline dense" not in names
    heat = browser.evaluate("(({ x, y, text }) => ({ x, y, text }))(document.getElementById('kept').data[0])")
    assert heat["x"] == list(experiment.trials[-1].record["channels"])
    assert heat["text"][0] == [f"{front[0].record['kept'][g]}/{n}" for g, n in front[0].record["channels"].items()]
    volumes = browser.evaluate("document.getElementById('volume').data[0].y")
    assert len(volumes) == len(experiment.candidates)
    assert volumes == pytest.approx(sorted(volumes))

    chosen = front[len(front) // 2]
    browser.click(*place_of(browser, chosen.id))
    browser.wait_for(f"document.querySelector('#details dd')?.textContent === '{chosen.id}'", 10)
    browser.evaluate("document.getElementById('export').click()")
    browser.wait_for("document.getElementById('exported').dataset.state === 'done'", 200)
    exported = nni_home.folder / "exports" / chosen.id
    card = json.loads((exported / "model_card.json").read_text())
    assert card["trial"] == chosen.id
    link = browser.evaluate("[...document.querySelectorAll('#exported a')].find(a => a.text === 'model.onnx').href")
    model = requests.get(link, timeout=20).content
    assert model == (exported / "model.onnx").read_bytes()
    assert onnxruntime.InferenceSession(model).get_inputs()[0].shape[1:] == [1, 8, 8]

    check_choosing(browser, experiment)
    check_axes(browser, experiment)
    check_sensitivity(browser, nni_home)
    check_table(browser, experiment)
    check_nnis_own_page(browser, nni_home, experiment)
    assert browser.errors == []
    own = f"http://127.0.0.1:{nni_home.port}/"
    assert [url for url in browser.requests if not url.startswith((own, "data:", "blob:"))] == []
    check_trouble(browser, nni_home)


def check_choosing(browser, experiment):
    """Choose by rules, as a person does, with the keyboard's and the button's events."""

    def choose(rule):
        browser.evaluate("document.getElementById('details').textContent = ''")
        browser.evaluate("document.getElementById('refused').textContent = ''")
        browser.evaluate(f"document.getElementById('rule').value = {json.dumps(rule)}")
        browser.evaluate("document.querySelector('#choose button').click()")
        refused, chosen = "document.getElementById('refused').textContent", "document.querySelector('#details dd')"
        return browser.wait_for(f"{refused} || {chosen}?.textContent", 20)

    from autoprune.finalize.choice import choose_trial

    for rule in ("knee", f"macs<={experiment.dense['macs'] // 2}", "drop<=99%", experiment.candidates[0].id):
        assert choose(rule) == choose_trial(experiment, rule)[0].id
    assert choose("macs<=1") == "no trial satisfies macs<=1: loosen it, or search longer"


def check_axes(browser, experiment):
    """Put two other measures on the axes: the line is the front of these two, and the dense model stays."""
    change = "document.getElementById('axes').dispatchEvent(new Event('change'))"
    browser.evaluate(f"document.getElementById('x').value = 'latency_ms'; {change}")
    browser.evaluate(f"document.getElementById('y').value = 'bytes'; {change}")
    line = "document.getElementById('front').data.find(trace => trace.name === '{}')"
    shown = browser.evaluate(f"(({{ x, y, customdata }}) => ({{ x, y, customdata }}))({line.format('Pareto front')})")
    front = sorted(experiment.front(("bytes", "latency_ms")), key=lambda trial: trial.measures["latency_ms"])
    assert shown["customdata"] == [trial.id for trial in front]
    assert shown["x"] == [trial.measures["latency_ms"] for trial in front]
    assert shown["y"] == [trial.measures["bytes"] for trial in front]
    assert browser.evaluate(f"{line.format('dense model')}.x") == [experiment.dense["latency_ms"]]
    assert "latency" in browser.evaluate("document.querySelector('#front .xtitle').textContent")


def check_sensitivity(browser, nni_home):
    """Draw the probe's curves, a line for each group, from the file that the tuner's process leaves in ``log/``."""
    curves = {"<b>first</b>": [[0, 0.99], [0.5, 0.9]], "hidden": [[0, 0.99], [0.25, 0.985], [0.5, 0.7]]}
    (nni_home.log / "sensitivity.json").write_text(json.dumps(curves))
    shown = "(document.getElementById('sensitivity').data || [])"
    browser.wait_for(f"{shown}.length === 2 && {shown}[1].x.length === 3", 60)  # it is worked out in the background
    drawn = browser.evaluate(f"{shown}.map(({{ name, x, y }}) => [name, x.map((each, i) => [each, y[i]])])")
    assert drawn == [["&lt;b&gt;first&lt;/b&gt;", curves["<b>first</b>"]], ["hidden", curves["hidden"]]]
    assert browser.evaluate("document.getElementById('sensitivity').getBoundingClientRect().height") > 100
    assert browser.evaluate("document.querySelectorAll('#sensitivity .scatterlayer .trace').length") == 2


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


COVERED = """(() => {
    const ours = document.getElementById('autoprune-front');
    const p = ours.getBoundingClientRect();
    scrollTo(0, document.body.scrollHeight); // where the table is
    const all = document.querySelectorAll('[role=gridcell], [role=columnheader], img, button');
    const boxes = [...all].map(each => [each.textContent, each.getBoundingClientRect()]).filter(([, q]) => q.width > 0);
    const met = boxes.filter(([, q]) => q.left < p.right && p.left < q.right && q.top < p.bottom && p.top < q.bottom);
    return met.map(([text]) => text);
})()"""
"""What of NNI's own page the link to the front covers."""


def check_nnis_own_page(browser, nni_home, experiment):
    """NNI's web UI names the trials, shows accuracy first, the columns that a pruning user needs, and its icons."""
    browser.open(f"http://127.0.0.1:{nni_home.port}/detail")
    trial = experiment.candidates[0]
    browser.wait_for(f"document.body.innerText.includes({json.dumps(trial.id)})")
    headings = browser.evaluate("[...document.querySelectorAll('[role=columnheader]')].map(each => each.innerText)")
    wanted = {f"{each} (metric)" for each in ("accuracy", "params", "macs", "latency_ms", *experiment.margins(trial))}
    assert wanted <= set(map(str.strip, headings))
    cells = browser.evaluate("[...document.querySelectorAll('[role=gridcell]')].map(each => each.innerText.trim())")
    assert f"{trial.metrics['accuracy']:.4f}".rstrip("0") in cells
    assert {name(experiment, trial), "lottery_ticket 80%", "l1_filter 25%"} <= set(cells)
    heading = (
        "getComputedStyle(document.querySelector('[data-item-key=message] .ms-DetailsHeader-cellName'), '::after')"
    )
    assert browser.evaluate(f"{heading}.content") == '"Name"'
    assert browser.evaluate(COVERED) == []
    icon = "getComputedStyle(document.querySelector('i[data-icon-name=Search]'), '::before').maskImage"
    assert "data:image/svg+xml" in browser.evaluate(icon)
    latest = nni_home.api("metric-data-latest").json()[0]  # what others ask stays what the trial said
    assert json.loads(json.loads(latest["data"])).keys() >= {"default", "accuracy"}
    assert "message" not in nni_home.trials()[trial.id]
    browser.open(f"http://127.0.0.1:{nni_home.port}/oview")
    browser.wait_for("!!document.querySelector('#succTable .id[data-name=\"lottery_ticket 80%\"]')", 20)
    assert browser.evaluate("document.getElementById('autoprune-front').href").endswith("/pareto/")


def check_trouble(browser, nni_home):
    """A database that cannot be read is one line on the page, which goes when it can; NNI's web UI works on."""
    file, trouble = nni_home.folder / "db" / "nni.sqlite", "document.getElementById('trouble')"
    browser.open(f"http://127.0.0.1:{nni_home.port}/pareto/")
    browser.wait_for("document.querySelectorAll('#trials tbody tr').length === 10")
    whole = file.read_bytes()
    file.write_bytes(b"no database")
    reason = f"No news: experiment {nni_home.id} is damaged: its database "
    browser.wait_for(f"!{trouble}.hidden && {trouble}.textContent.startsWith({json.dumps(reason)})", 20)
    assert browser.evaluate("document.querySelectorAll('#trials tbody tr').length") == 10
    browser.open(f"http://127.0.0.1:{nni_home.port}/oview")
    browser.wait_for("document.body.innerText.includes('Duration')", 20)
    file.write_bytes(whole)
    browser.open(f"http://127.0.0.1:{nni_home.port}/pareto/")
    browser.wait_for(f"document.querySelectorAll('#trials tbody tr').length === 10 && {trouble}.hidden", 20)


def test_the_declarations_are_served_and_an_export_takes_a_trials_id_and_nothing_else(nni_home):
    assert nni_home.create(nni_home.config(maxTrialNumber=1)).returncode == 0
    nni_home.wait_for_status("DONE")
    url = f"http://127.0.0.1:{nni_home.port}/api/v1/autoprune/exports"
    (trial,) = nni_home.trials()
    told = requests.get(url.replace("exports", "page"), timeout=20)
    assert told.json()["metric"] == METRIC.name
    assert told.json()["measures"] == [
        MEASURES[name].declaration()
        for name in (METRIC.name, *(name for name, size in SIZES.items() if not size.optional))
    ]
    assert told.headers["Content-Type"].startswith("application/json")
    assert told.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert requests.get(f"http://127.0.0.1:{nni_home.port}/pareto/state.mjs", timeout=20).status_code == 200

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


@pytest.mark.slow
def test_the_manager_and_the_process_that_works_the_page_out_each_survive_the_others_death(nni_home):
    assert nni_home.create(nni_home.config("--measures 1", maxTrialNumber=2)).returncode == 0
    nni_home.wait_for_status("DONE")
    assert nni_home.called("autoprune.nni.page_data") == []  # nobody has asked

    def ask(path):
        return requests.get(f"http://127.0.0.1:{nni_home.port}/api/v1/autoprune/{path}", timeout=30)

    def page():
        """Return what the page is told, but for its version, which is the process's own."""
        return {key: value for key, value in ask("page").json().items() if key != "version"}

    def both():
        told = page()
        return told if sum(bool(trial["measures"]) for trial in told["trials"]) == 2 else None

    told = wait_until(both, what="both results in the database")
    assert len(told["trials"]) == 2
    (first,) = nni_home.called("autoprune.nni.page_data")
    assert first.nice() > nni_home.managers()[0].nice()  # the search comes first
    first.kill()
    wait_until(lambda: not nni_home.called("autoprune.nni.page_data"), what="the process's end")
    assert ask(f"choice?rule={told['front'][0]}").json()["trial"] == told["front"][0]
    (second,) = nni_home.called("autoprune.nni.page_data")
    assert second != first
    assert page() == told
    (manager,) = nni_home.managers()
    manager.kill()
    wait_until(lambda: not nni_home.called("autoprune.nni.page_data"), what="the process's end")
