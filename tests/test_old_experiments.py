"""An experiment that an earlier version made, and that was stopped half-way, still opens.

The archive was written by tests/fixtures/make_experiment.py with the code of the revision that it is named after. It
stays as it is: what differs from it is what users would lose.
"""

import csv
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autoprune.cli import app

ARCHIVE = Path(__file__).parent / "fixtures" / "experiment-cebf502.tar.xz"
MADE_IN = "/tmp/autoprune-old-experiment"
ID = "4m3de1k2"
DENSE = {"accuracy": 353 / 360, "params": 11642, "macs": 234816, "bytes": 42746}
FRONT = {
    "ifL5U": {"accuracy": 350 / 360, "params": 6394, "macs": 81648, "bytes": 23974},
    "LKUAp": {"accuracy": 348 / 360, "params": 3674, "macs": 61680, "bytes": 14037},
    "jRRec": {"accuracy": 347 / 360, "params": 1626, "macs": 51024, "bytes": 6470},
}
"""The best in accuracy first, as the version that made it printed them."""
FRONT_BY_PARAMETERS = ["ifL5U", "N7qAz", "LKUAp", "jRRec"]
RECOVERED = "ifL5U"
"""Was fine-tuned to the end with three seeds, the best of which had 347 of 360 right on the validation split."""
BASELINES = {"l1_filter": ["w11iz", "pSCKc", "pYGcs"], "lottery_ticket": ["dbcRB", "qccsa", "Hgcqu"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home folder of a user who has the experiment."""
    return unpack(tmp_path_factory.mktemp("home"))


@pytest.fixture
def autoprune(home, monkeypatch):
    """Run a command of ``autoprune`` in that home; return what it prints."""
    monkeypatch.setenv("HOME", str(home))

    def run(*words) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def unpack(home: Path) -> Path:
    """Unpack the archive, and let the paths in its files, which are absolute, lead into ``home``."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home, filter="data")
    for file in home.rglob("*"):
        if file.suffix == ".sqlite":
            with closing(sqlite3.connect(file)) as database:
                script = "\n".join(database.iterdump()).replace(MADE_IN, str(home))
            file.unlink()
            with closing(sqlite3.connect(file)) as database:
                database.executescript(script)
        elif file.is_file() and file.suffix != ".pt":
            file.write_text(file.read_text().replace(MADE_IN, str(home)))
    return home


def test_it_is_listed_as_stopped_with_its_counts(autoprune):
    (line,) = (line for line in autoprune("list").splitlines() if ID in line)
    assert line.split()[1:7] == ["small_digits", "stopped", "17", "of", "24", "0"]
    assert line.split()[7] == str(len(FRONT))


@pytest.mark.parametrize("id_", [ID, "latest"])
def test_its_front_is_what_it_was(autoprune, id_):
    found = json.loads(autoprune("pareto", id_, "--format", "json"))
    assert (found["experiment"], found["name"]) == (ID, "small_digits")
    assert [(each["trial"], sizes_and_accuracy(each["measures"])) for each in found["front"]] == list(FRONT.items())
    assert sizes_and_accuracy(found["dense"]) == pytest.approx(DENSE)
    assert {name: [each["trial"] for each in trials] for name, trials in found["baselines"].items()} == BASELINES
    smallest = found["front"][-1]
    assert smallest["parameters"] == {
        "criterion": "l1_norm",
        "schedule": "shared",
        "sparsity.stem.0": 0.5,
        "sparsity.down.0": 0.75,
        "sparsity.hidden": 0.75,
        "budget": 0.0,
    }
    assert smallest["channels kept"] == {"stem.0": 8, "down.0": 8, "hidden": 8}
    assert smallest["margins"]["above_l1_filter"] == pytest.approx(76 / 360, abs=1e-5)


def test_another_front_is_drawn_from_its_trials(autoprune):
    printed = autoprune("pareto", ID, "--objectives", "accuracy,params", "--format", "csv")
    assert [row["trial"] for row in csv.DictReader(io.StringIO(printed))] == FRONT_BY_PARAMETERS


def test_the_table_shows_front_baselines_and_what_was_fine_tuned_to_the_end(autoprune):
    lines = {line.split()[0]: line for line in autoprune("pareto", ID).splitlines() if line.split()}
    for trial, measures in FRONT.items():
        reached = (
            0.962 if trial == RECOVERED else measures["accuracy"]
        )  # validation, the mean of its three fine-tunings
        assert f"{reached:.2%}".replace("%", " %") in lines[trial]
    assert "97.87" in lines[RECOVERED]  # the same on the test split
    assert set(sum(BASELINES.values(), [])) <= set(lines)


@pytest.mark.parametrize(
    ("rule", "options", "right"),
    [("pYGcs", ["--recovery-steps", 0], 341), ("drop<=2%", ["--recovery-steps", 0], 347), ("ifL5U", [], 347)],
    ids=["a baseline", "the smallest of the front", "the best of its recoveries"],
)
def test_a_chosen_network_is_exported_as_accurate_as_it_was(autoprune, home, tmp_path, rule, options, right):
    autoprune("export", ID, "--choose", rule, *options, "--format", "pt2", "-o", tmp_path / "model.pt2")
    images, labels = validation_split()
    answers = torch.export.load(tmp_path / "model.pt2").module()(images).argmax(1)
    assert (answers == labels).sum().item() == pytest.approx(right, abs=1)  # another processor rounds otherwise


def test_its_report_is_written(autoprune, tmp_path):
    autoprune("report", ID, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "small_digits" in page
    assert all(trial in page for trial in FRONT)


@pytest.mark.slow
def test_it_goes_on_from_where_it_was_stopped(tmp_path):
    home = unpack(tmp_path)
    database = home / "nni-experiments" / ID / "db" / "nni.sqlite"
    before = {id_: trial for id_, trial in trials(database).items() if trial[0] == "SUCCEEDED"}
    assert len(before) == 17
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NNI", "AUTOPRUNE"))}
    environment = kept | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("autoprune"))]
    try:
        resume = [*command, "resume", ID, "--port", str(free_port())]
        done = subprocess.run(resume, env=environment, capture_output=True, text=True, timeout=200)
    finally:
        subprocess.run([*command, "stop", ID], env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    after = trials(database)
    assert before.items() <= after.items()
    assert [status for status, _ in after.values()] == ["SUCCEEDED"] * 24
    assert len({parameters for _, parameters in after.values()}) == 24  # what was judged before is not run again
    pareto = [*command, "pareto", ID, "--format", "json"]
    found = json.loads(subprocess.run(pareto, env=environment, capture_output=True, text=True, check=True).stdout)
    front = {each["trial"]: sizes_and_accuracy(each["measures"]) for each in found["front"]}
    assert set(front) <= set(after)
    for trial, measures in FRONT.items():
        assert front.get(trial) == measures or any(
            each["accuracy"] >= measures["accuracy"] and each["macs"] <= measures["macs"] for each in front.values()
        )


def trials(database: Path) -> dict[str, tuple[str, str]]:
    """Return the last status and the parameters of each trial in NNI's database, by its id."""
    with closing(sqlite3.connect(database)) as opened:
        events = opened.execute(
            "select trialJobId, event, data from TrialJobEvent where trialJobId != '' order by rowid"
        )
        found: dict[str, tuple[str, str]] = {}
        for trial, event, data in events:
            parameters = json.dumps(json.loads(data)["parameters"], sort_keys=True) if data else found[trial][1]
            found[trial] = (event, parameters)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sizes_and_accuracy(measures):
    return {name: value for name, value in measures.items() if name in DENSE}


def validation_split():
    """The second of three parts of scikit-learn's digits, as the experiment's task splits them."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    part = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[1077 : 1077 + 360]
    return (torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16)[part], torch.tensor(labels)[part]
