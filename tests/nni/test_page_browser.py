"""The Pareto page in a real Chromium, on searches that are not run for it."""

import csv
import importlib.util
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from conftest import wait_until
from page_site import served
from test_old_experiments import FRONT, ID, unpack

pytestmark = [pytest.mark.browser, needs_chromium]

DENSE, FAILED = "W3sEM", "YUN8Y"
REASON = "the loss is <b>nan</b> after step 3"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium") / "profile")
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def no_errors(browser):
    """No script fails, and nothing is asked for elsewhere."""
    browser.errors.clear()
    browser.requests.clear()
    yield
    assert browser.errors == []
    assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:")) for url in browser.requests)
    look(browser)


@pytest.fixture
def search(tmp_path):
    """The folder of a search of which three trials are on the front, one failed and one runs."""
    folder = next(unpack(tmp_path).rglob(ID))
    change(
        folder,
        f"delete from MetricData where trialJobId = '{FAILED}'",
        f"update TrialJobEvent set event = 'FAILED' where trialJobId = '{FAILED}' and event = 'SUCCEEDED'",
    )
    (trial_folder(folder, FAILED) / "failure.txt").write_text(REASON)
    (trial_folder(folder, FAILED) / "trial.stderr").write_text("Traceback: <i>step 3</i>\n")
    return folder


@pytest.fixture
def page(search, tmp_path, browser):
    """That search's page, drawn; the site that serves it."""
    with opened(browser, search, tmp_path) as site:
        yield site


class opened:  # noqa: N801  (a context)
    def __init__(
        self, browser, folder, tmp_path, until="document.querySelectorAll('#trials tbody tr').length", **options
    ):
        self.browser, self.until = browser, until
        self.served = served(folder, tmp_path / "site.log", **options)

    def __enter__(self):
        site = self.served.__enter__()
        self.browser.open(site.url)
        self.browser.wait_for(self.until, 30)
        return site

    def __exit__(self, *reason):
        self.browser.call("Page.navigate", url="about:blank")
        self.served.__exit__(*reason)


def trial_folder(folder, trial):
    return folder / "environments" / "local-env" / "trials" / trial


def change(folder, *statements):
    with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as database, database:
        for each in statements:
            database.execute(each)


def look(browser, width=1400, height=1700, dark=False):
    """Give the window a size, and the user a taste."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.call("Emulation.setEmulatedMedia", media="", features=[scheme])


def click(browser, selector):
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def text_of(browser, selector) -> str:
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def is_shown(browser, selector) -> bool:
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).checkVisibility()")


def press(browser, key):
    text = {"Enter": "\r"}.get(key, "")
    browser.call(
        "Input.dispatchKeyEvent", type="keyDown", key=key, code=key, text=text, windowsVirtualKeyCode=KEYS[key]
    )
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=KEYS[key])


KEYS = {"Enter": 13, "Tab": 9, "Escape": 27}


def only_the_dense_trial(folder):
    """Go back to when the first trial had just begun."""
    change(
        folder,
        "delete from MetricData",
        f"delete from TrialJobEvent where trialJobId != '{DENSE}' or event != 'RUNNING'",
    )
    (trial_folder(folder, DENSE) / "result.json").unlink()


def test_before_anything_has_finished_it_says_what_is_prepared_and_draws_no_axes(search, tmp_path, browser):
    only_the_dense_trial(search)
    note = trial_folder(search, DENSE) / "progress.txt"
    note.write_text("supernet step 30 of 120, loss 0.41, about 9 s left")
    with opened(browser, search, tmp_path, "!document.getElementById('running').hidden"):
        assert text_of(browser, "#running-title") == "Being prepared"
        assert text_of(browser, "#doing .words") == "supernet step 30 of 120, loss 0.41, about 9 s left"
        assert browser.evaluate("document.querySelector('#doing progress').value") == 0.25
        assert [is_shown(browser, each) for each in ("#front", "#volume", "#kept", "#choose")] == [False] * 4
        assert serious(browser) == []
        note.write_text("supernet step 60 of 120, loss 0.30, about 6 s left")
        browser.wait_for("document.querySelector('#doing progress').value === 0.5", 10)


def test_while_there_are_baselines_alone_no_plot_is_empty(search, tmp_path, browser):
    others = "not in (select trialJobId from TrialJobEvent where data like '%baseline%')"
    change(search, *(f"delete from {table} where trialJobId {others}" for table in ("MetricData", "TrialJobEvent")))
    with opened(browser, search, tmp_path):
        browser.wait_for("document.querySelector('#front .main-svg')", 10)
        plots = "[...document.querySelectorAll('.plot')].filter(each => each.checkVisibility()).map(each => each.id)"
        assert browser.evaluate(plots) == ["front"]
        assert "The next trial is about to start" in text_of(browser, "#prepared")
        look(browser, width=390)
        browser.wait_for("document.getElementById('front')._fullLayout.width < 390", 10)
        assert boxes_that_overlap(browser) == []


def test_the_search_is_paused_goes_on_gets_more_trials_and_is_stopped_once_asked(page, browser):
    click(browser, "#pause")
    browser.wait_for("document.getElementById('pause').textContent === 'Go on'", 10)
    assert text_of(browser, "#progress").startswith("paused, 17 of 24 trials done")
    click(browser, "#pause")
    browser.wait_for("document.getElementById('pause').textContent === 'Pause'", 10)
    click(browser, "#more")
    browser.evaluate("document.getElementById('more-count').value = 6")
    click(browser, "#more-dialog button[value=more]")
    wait_until(lambda: len(page.commands) == 3, 10, "the third command")
    click(browser, "#stop")
    assert is_shown(browser, "#stop-dialog")
    assert text_of(browser, ":focus") == "Leave it running"
    press(browser, "Enter")
    assert not is_shown(browser, "#stop-dialog")
    click(browser, "#stop")
    click(browser, "#stop-dialog button[value=stop]")
    browser.wait_for("document.getElementById('progress').textContent.startsWith('stopped')", 10)
    assert f"autoprune resume {ID}" in text_of(browser, "#progress")
    assert not any(is_shown(browser, f"#{each}") for each in ("pause", "more", "stop", "trouble"))
    api = "/api/v1/nni/experiment"
    assert page.commands == [
        ["PUT", "/api/v1/autoprune/paused", {"paused": True}],
        ["PUT", "/api/v1/autoprune/paused", {"paused": False}],
        ["PUT", f"{api}?update_type=MAX_TRIAL_NUM", {"params": {"maxTrialNumber": 30}}],
        ["DELETE", api, {}],
    ]


def test_more_trials_of_a_search_whose_time_is_over_need_more_time_too(search, tmp_path, browser):
    with opened(browser, search, tmp_path, status="DONE", spent=95, maxExperimentDuration="90s") as site:
        click(browser, "#more")
        browser.wait_for("document.getElementById('more-time').checkVisibility()", 10)
        assert "The time allowed, 90 s, is over" in text_of(browser, "#more-time")
        assert browser.evaluate("document.getElementById('more-minutes').value") == "2"
        browser.evaluate("document.getElementById('more-minutes').value = 0")
        click(browser, "#more-dialog button[value=more]")
        browser.wait_for("document.getElementById('trouble').checkVisibility()", 10)
        assert (
            text_of(browser, "#trouble") == "That was not done: the time allowed is over: give the search minutes too"
        )
        click(browser, "#more")
        browser.wait_for("document.getElementById('more-minutes').value === '2'", 10)
        click(browser, "#more-dialog button[value=more]")
        wait_until(lambda: len(site.commands) == 2, 10, "the second command")
        change = "/api/v1/nni/experiment?update_type="
        assert site.commands == [
            ["PUT", f"{change}MAX_EXEC_DURATION", {"params": {"maxExperimentDuration": "215s"}}],
            ["PUT", f"{change}MAX_TRIAL_NUM", {"params": {"maxTrialNumber": 34}}],
        ]


@pytest.mark.parametrize(("status", "buttons"), [("DONE", ["more", "stop"]), ("VIEWED", ["stop"]), ("ERROR", ["stop"])])
def test_of_a_search_that_is_over_only_what_can_be_done_is_offered(search, tmp_path, browser, status, buttons):
    with opened(browser, search, tmp_path, status=status):
        assert [each for each in ("pause", "more", "stop") if is_shown(browser, f"#{each}")] == buttons


def test_a_failed_trial_has_its_reason_and_its_log_which_grows(page, search, browser):
    assert text_of(browser, "#failures .error") == REASON
    click(browser, "#failures button")
    assert browser.evaluate("document.activeElement.id") == "trial-name"
    assert REASON in text_of(browser, "#details dl")
    browser.evaluate("document.getElementById('log').open = true")
    shown = "document.getElementById('log-text').textContent"
    browser.wait_for(f"{shown}.includes('Traceback: <i>step 3</i>')", 10)
    (trial_folder(search, FAILED) / "trial.stdout").write_text("one more line\n")
    browser.wait_for(f"{shown}.includes('one more line')", 10)


def test_two_trials_are_compared_side_by_side(page, browser):
    first, second = list(FRONT)[:2]
    click(browser, f"tr[data-trial={first}] button")
    browser.wait_for("document.querySelectorAll('#details dt').length > 12", 10)
    click(browser, "#compare")
    click(browser, f"tr[data-trial={second}] button")
    rows_told = "[...document.querySelectorAll('#comparison tr')].filter(r => r.innerText.startsWith('kept of'))"
    browser.wait_for(f"{rows_told}.length === 3 && !{rows_told}.some(r => r.innerText.includes('-'))", 10)
    rows = browser.evaluate(
        "[...document.querySelectorAll('#comparison tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    sides = {title: texts for title, *texts in rows}
    assert sides["id"] == [first, second]
    assert [text.split(" (")[0] for text in sides["accuracy"]] == ["97.22 %", "96.67 %"]
    assert sides["schedule"] == ["shared", "shared"]
    assert sides["kept of down.0"] == ["32/32", "16/32"]
    assert serious(browser) == []
    click(browser, "#compare")
    assert text_of(browser, "#details dd") == second


def test_the_table_and_the_picture_are_saved(page, browser, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    click(browser, "#front-only")
    click(browser, "#trials-csv")
    file = tmp_path / f"{ID}.csv"
    wait_until(file.is_file, 10, "the file")
    rows = list(csv.DictReader(file.open(newline="")))
    assert {row["id"]: float(row["accuracy"]) for row in rows} == {key: m["accuracy"] for key, m in FRONT.items()}
    click(browser, "#front-png")
    picture = tmp_path / f"{ID}-front.png"
    wait_until(picture.is_file, 20, "the picture")
    assert picture.read_bytes().startswith(b"\x89PNG")


def serious(browser) -> list[str]:
    """Return what axe-core finds that is serious or critical."""
    (folder,) = importlib.util.find_spec("axe_core_python").submodule_search_locations
    if not browser.evaluate("'axe' in window"):
        browser.evaluate(f"{(Path(folder) / 'axe.min.js').read_text()}; 0")
    found = browser.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(page, browser, dark):
    look(browser, dark=dark)
    click(browser, "#failures button")
    browser.evaluate("document.getElementById('log').open = true")
    assert serious(browser) == []
    click(browser, "#stop")
    assert serious(browser) == []


def test_a_trial_is_reached_and_selected_by_the_keyboard_alone(page, browser):
    browser.evaluate("document.getElementById('filter').focus()")
    for _ in range(40):
        press(browser, "Tab")
        if browser.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    wanted = browser.evaluate("document.activeElement.closest('tr').dataset.trial")
    press(browser, "Enter")
    assert text_of(browser, "#details dd") == wanted
    assert browser.evaluate("document.activeElement.id") == "trial-name"


def boxes_that_overlap(browser) -> list:
    """Return pairs of a plot's texts (titles, ticks, the legend's) that cover one another."""
    return browser.evaluate("""(() => {
        const parts = '.xtick text, .ytick text, .xtitle, .ytitle, .legendtext';
        const meet = (p, q) =>
            p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 2 && q.top < p.bottom - 2;
        return [...document.querySelectorAll('.plot')].filter(plot => plot.checkVisibility()).flatMap(plot => {
            const texts = [...plot.querySelectorAll(parts)];
            const boxes = texts.map(each => [each.textContent, each.getBoundingClientRect()]);
            return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([, q]) => meet(p, q)).map(([b]) => [a, b]));
        });
    })()""")


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_overlaps_or_sticks_out(page, browser, width):
    look(browser, width=width)
    click(browser, f"tr[data-trial={list(FRONT)[0]}] button")
    browser.wait_for(f"document.getElementById('front')._fullLayout.width < {width}", 10)
    assert boxes_that_overlap(browser) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_it_is_light_whole_and_without_buttons(page, browser):
    look(browser, dark=True)
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert browser.evaluate("document.getElementById('front').layout.font.color") == "#1f2933"
    assert not any(is_shown(browser, each) for each in ("#actions", "#filter", "#axes", "#trials-csv"))
    assert "accuracy" in text_of(browser, "#trials thead")
    assert browser.evaluate("document.getElementById('front')._fullLayout.width") <= 700
    assert browser.evaluate(
        "document.querySelector('.scroll').scrollHeight <= document.querySelector('.scroll').clientHeight"
    )
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.getElementById('front').layout.font.color") == "#e4e9ef"
