"""How quick the Pareto page is with many trials and groups.

A search is made up in a temporary folder, served as NNI's manager serves it (tests/nni/page_server.js), and opened in a
headless Chromium. Three times are measured: from the call to the first frame with the front and the table; after some
more trials have ended, from the answer's arrival in the page to the frame that shows them; and from when somebody
scrolls to a section of what the search learned until it is drawn. Beside each stands what it takes of a processor,
which a busy machine changes less. Chromium is needed.
"""

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "nni")]
from browser import Browser  # noqa: E402
from page_site import served  # noqa: E402

SCHEMA = """
create table ExperimentProfile (params text, id text, execDuration integer, startTime integer, endTime integer,
    logDir text, nextSequenceId integer, revision integer);
create table MetricData (timestamp integer, trialJobId text, parameterId text, type text, sequence integer, data text);
create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text, sequenceId integer,
    message text, environmentId text);
"""
DENSE = {"accuracy": 0.93, "params": 11_000_000, "macs": 550_000_000, "bytes": 44_000_000, "latency_ms": 12.0}


class MadeUp:
    """A search that was never run."""

    def __init__(self, folder: Path, groups: int, trials: int, seed: int = 0):
        self.folder, self.random, self.count = folder, random.Random(seed), 0
        self.channels = {f"layer{i // 10}.{i % 10}.conv": 64 for i in range(groups)}
        (folder / "db").mkdir(parents=True)
        (folder / "log").mkdir()
        config = {"experimentName": "made_up", "trialCommand": "autoprune trial digits", "maxTrialNumber": 10 * trials}
        with closing(self.open()) as database, database:
            database.executescript(SCHEMA)
            profile = (json.dumps(config), folder.name, 0, 0, None, "", 0, 1)
            database.execute("insert into ExperimentProfile values (?, ?, ?, ?, ?, ?, ?, ?)", profile)
        self.add(trials)

    def open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "db" / "nni.sqlite")

    def add(self, trials: int) -> None:
        """Let some more trials end."""
        with closing(self.open()) as database, database:
            for _ in range(trials):
                self._add_one(database)

    def _add_one(self, database: sqlite3.Connection) -> None:
        number, key = self.count, f"t{self.count:05}"
        self.count += 1
        kept = {group: self.random.randint(8, total) for group, total in self.channels.items()}
        share = 1.0 if number == 0 else self.random.uniform(0.02, 1)
        measures = {name: round(value * share) for name, value in DENSE.items() if name != "accuracy"}
        measures |= {"accuracy": round(DENSE["accuracy"] * share**0.05 * self.random.uniform(0.9, 1), 6)}
        measures |= {"latency_ms": round(DENSE["latency_ms"] * share, 4)}
        parameters = {"criterion": "l1_norm", "schedule": "supernet"}
        parameters |= {f"sparsity.{group}": 1 - left / self.channels[group] for group, left in kept.items()}
        if number == 0:
            measures, parameters = DENSE, {"baseline": "dense", "criterion": "l1_norm", "schedule": "supernet"}
        trial = self.folder / "environments" / "local-env" / "trials" / key
        trial.mkdir(parents=True)
        record = {"measures": measures, "dense": DENSE, "channels": self.channels, "kept": kept}
        (trial / "result.json").write_text(json.dumps(record))
        packed = json.dumps({"parameter_id": number, "parameters": parameters})
        for event, data, after in (("RUNNING", packed, 0), ("SUCCEEDED", None, 900)):
            row = (number * 1000 + after, key, event, data, "", number, None, "local-env")
            database.execute("insert into TrialJobEvent values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        final = json.dumps(json.dumps(measures | {"default": measures["accuracy"]}))
        row = (number * 1000 + 900, key, str(number), "FINAL", 0, final)
        database.execute("insert into MetricData values (?, ?, ?, ?, ?, ?)", row)


PAINTED = """(() => { // when the frame that shows something new was drawn
    const wait = performance.getEntriesByName('shown').at(-1);
    return wait ? [wait.startTime, wait.duration] : null;
})()"""


def first_paint(browser: Browser, url: str) -> float:
    """Return milliseconds from the call of the page to the frame that first shows the front."""
    browser.call("Page.navigate", url=url)
    start, duration = browser.wait_for(PAINTED, 120)
    return start + duration


def told(times: list[float]) -> str:
    """Return the median and the extremes: on a busy machine, the least says what it takes."""
    return f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f}, of {len(times)})"


def measure(trials: int, groups: int, updates: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "made1up1")
        search = MadeUp(folder, groups, trials)
        browser = Browser(Path(place, "profile"))
        try:
            with served(folder, Path(place, "site.log")) as site:
                browser.call("Performance.enable", timeDomain="threadTicks")
                print(f"first paint, where nobody has asked before: {first_paint(browser, site.url):.0f} ms")
                print(f"the answer to it: {answering():.0f} ms, of a processor")
                again, worked, answered = [], [], []
                for _ in range(5):
                    browser.call("Page.navigate", url="about:blank")
                    begun = work(browser), answering()
                    again.append(first_paint(browser, site.url))
                    worked.append(work(browser) - begun[0])
                    answered.append(answering() - begun[1])
                print(f"first paint after that: {told(again)}")
                print(f"all that the page does for it: {told(worked)}, of a processor")
                print(f"the answer to it: {told(answered)}, of a processor")
                took, answered, worked = [], [], []
                for _ in range(updates):
                    before = browser.evaluate("performance.getEntriesByName('shown').length")
                    begun = work(browser), answering()
                    search.add(3)
                    browser.wait_for(f"performance.getEntriesByName('shown').length > {before}", 60)
                    took.append(browser.evaluate(PAINTED)[1])
                    worked.append(work(browser) - begun[0])
                    answered.append(answering() - begun[1])
                print(
                    f"update: {statistics.median(took):.0f} ms, at most {max(took):.0f} ms ({updates} of 3 trials each)"
                )
                print(f"all that the page does for an update: {told(worked)}, of a processor")
                print(f"the answer to it: {told(answered)}, of a processor")
                for section in browser.wait_for(LEARNED, 300):
                    begun = work(browser)
                    took = browser.evaluate(SEEN.format(section))
                    print(f"{section}: {took:.0f} ms; {work(browser) - begun:.0f} ms of a processor")
        finally:
            browser.close()


def work(browser: Browser) -> float:
    """Return milliseconds of a processor that the page has taken so far."""
    time.sleep(1)  # what follows the first frame is counted too
    metrics = browser.call("Performance.getMetrics")["metrics"]
    return 1000 * next(each["value"] for each in metrics if each["name"] == "TaskDuration")


def answering() -> float:
    """Return milliseconds of a processor that the process that answers has taken so far."""
    processes = [each for child in psutil.Process().children() for each in child.children()]
    (times,) = (each.cpu_times() for each in processes if "autoprune.nni.page_data" in each.cmdline())
    return 1000 * (times.user + times.system)


LEARNED = """(() => { // the sections' ids, once they are there
    const found = [...document.querySelectorAll('#learned section')].map(each => each.id);
    return found.length ? found : null;
})()"""
SEEN = """new Promise(resolve => {{ // milliseconds until all that is seen of a section is drawn
    const [begun, place] = [performance.now(), document.getElementById('{}')];
    const figures = [...place.querySelectorAll('.frame > div')];
    const look = () => figures.every(each => each.querySelector('.main-svg'))
        ? resolve(performance.now() - begun) : requestAnimationFrame(look);
    place.scrollIntoView();
    look();
}})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--groups", type=int, default=300)
    parser.add_argument("--updates", type=int, default=7)
    options = parser.parse_args()
    begun = time.monotonic()
    measure(options.trials, options.groups, options.updates)
    print(f"{options.trials} trials, {options.groups} groups; {time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
