"""One damaged search: it is shown as damaged, with the reason, and all the others are read as before."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest

from autoprune import cli
from autoprune.nni.database import load_experiment, registry

GOOD, BAD, LATEST = "good0001", "damaged1", "good0002"
DENSE = {"accuracy": 0.99, "params": 1000, "macs": 10_000, "bytes": 4000, "latency_ms": 1.0}
TABLES = """
create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text,
    sequenceId integer, message text, environmentId text);
create table MetricData (timestamp integer, trialJobId text, parameterId text, type text, sequence integer, data text);
create table ExperimentProfile (params text, id text, execDuration integer, startTime integer, endTime integer,
    logDir text, nextSequenceId integer, revision integer);
"""


class Home:
    """A home with three searches that have ended, of four trials each, whose first one is the dense model's."""

    def __init__(self, root):
        self.root = root / "nni-experiments"
        entries = {}
        for number, name in enumerate((GOOD, BAD, LATEST)):
            self._write(name, number)
            entries[name] = {"id": name, "logDir": str(self.root), "startTime": number + 1, "port": 8080, "pid": 0}
        self.registry.write_text(json.dumps(entries, indent=4))
        (self.root / "_latest").symlink_to(LATEST)

    @property
    def registry(self):
        return self.root / ".experiment"

    @property
    def folder(self):
        return self.root / BAD

    @property
    def database(self):
        return self.folder / "db" / "nni.sqlite"

    def trial(self, number):
        return self.folder / "environments" / "local-env" / "trials" / f"t{number}"

    def _write(self, name, start):
        folder = self.root / name
        (folder / "db").mkdir(parents=True)
        (folder / "log").mkdir()
        (folder / "log" / "nnimanager.log").write_text("Shutdown complete\n")
        tuner = {"className": "autoprune.search.OptunaTuner", "classArgs": {"objectives": ["accuracy", "macs"]}}
        config = {"trialCommand": "autoprune trial digits", "maxTrialNumber": 4, "tuner": tuner, "searchSpace": {}}
        with closing(sqlite3.connect(folder / "db" / "nni.sqlite")) as db, db:
            db.executescript(TABLES)
            profile = [json.dumps(config | {"experimentName": f"name of {name}"}), name, 1, start + 1, 2, "", 4, 1]
            db.execute("insert into ExperimentProfile values (?,?,?,?,?,?,?,?)", profile)
            for number in range(4):
                self._trial(db, folder, number)

    def _trial(self, db, folder, number):
        key, size = f"t{number}", 1 - 0.2 * number
        parameters = {"sparsity.hidden": 0.1 * number} if number else {"baseline": "dense"}
        measures = {each: DENSE[each] * size for each in DENSE}
        add_event(db, key, "WAITING", json.dumps({"parameter_id": number, "parameters": parameters}), number)
        for event in ("RUNNING", "SUCCEEDED"):
            add_event(db, key, event, None, number)
        add_result(db, key, measures)
        place = folder / "environments" / "local-env" / "trials" / key
        place.mkdir(parents=True)
        record = {"parameters": parameters, "measures": measures, "kept": {"hidden": 8}, "dense": DENSE}
        (place / "result.json").write_text(json.dumps(record, indent=1))


def add_event(db, trial, event, data, number):
    db.execute("insert into TrialJobEvent values (1,?,?,?,'',?,'','local-env')", [trial, event, data, number])


def add_result(db, trial, measures):
    content = json.dumps(json.dumps({"default": measures["accuracy"]} | measures))
    db.execute("insert into MetricData values (1,?,'0','FINAL',0,?)", [trial, content])


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path)


@pytest.fixture
def autoprune(monkeypatch, capsys):
    """Run the command; return its status, and what it said and complained."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["autoprune", *words])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


def others_are_read(autoprune):
    status, said, complaint = autoprune("pareto", GOOD)
    assert (status, complaint) == (0, "")
    assert "t3" in said
    assert autoprune("report", LATEST)[0] == 0
    status, said, _ = autoprune("compare", GOOD, BAD, LATEST)
    assert status == 0
    assert GOOD in said and LATEST in said


def row(said, name):
    (found,) = [line.split() for line in said.splitlines() if line.split()[:1] == [name]]
    return found


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DATABASES = {
    "halved": lambda home: halve(home.database),
    "emptied": lambda home: home.database.write_bytes(b""),
    "text": lambda home: home.database.write_text("not a database at all, but a longer text" * 100),
    "foreign": lambda home: home.database.write_bytes((home.root / GOOD / "db" / "nni.sqlite").read_bytes()),
    "other tables": lambda home: (home.database.unlink(), sqlite3.connect(home.database).execute("create table a (b)")),
    "no config": lambda home: change(home, "update ExperimentProfile set params = '['"),
    "no result": lambda home: change(home, "update MetricData set data = '\"{'"),
    "no sequence": lambda home: change(home, "update TrialJobEvent set sequenceId = null"),
    "a folder": lambda home: (home.database.unlink(), home.database.mkdir()),
}


def change(home, statement):
    with closing(sqlite3.connect(home.database)) as db, db:
        db.execute(statement)


@pytest.mark.parametrize("damage", [name for name in DATABASES if name != "a folder"])
def test_a_damaged_database(home, autoprune, damage):
    DATABASES[damage](home)
    status, said, _ = autoprune("list")
    assert status == 0
    assert row(said, BAD)[1] != "name" and "damaged" in row(said, BAD)
    assert "done" in row(said, GOOD) and "done" in row(said, LATEST)
    assert f"{BAD}: damaged: experiment {BAD} is damaged: its database " in said.replace("\n", " ")
    others_are_read(autoprune)
    for command in ("pareto", "export", "report", "watch", "resume", "latency"):
        status, said, complaint = autoprune(command, BAD)
        assert (status, said) == (2, "")
        assert complaint.startswith(f"autoprune: experiment {BAD} is damaged: its database ")
        assert complaint.count("\n") == 1


@pytest.mark.parametrize("content", ["half", "", "[" * 100_000, '{"measures": 3, "kept": [], "dense": 1}'])
@pytest.mark.parametrize("name", ["result.json", "recovered.json", "prepared.json"])
def test_a_damaged_file_of_a_search_that_is_read_without_it(home, autoprune, name, content):
    file = {"recovered.json": home.folder / name, "prepared.json": home.trial(0) / name}.get(name, home.trial(3) / name)
    if content == "half":
        halve(file) if file.exists() else file.write_text('{"t3": {"before": 0.')
    else:
        file.write_text(content)
    status, said, _ = autoprune("list")
    assert status == 0
    assert "done, damaged" in " ".join(row(said, BAD))
    assert f"{BAD}: damaged: " in said and name in said
    others_are_read(autoprune)
    status, said, complaint = autoprune("pareto", BAD)
    assert status == 0
    assert "t3" in said and "t1" in said
    assert complaint.startswith(f"autoprune: experiment {BAD} is damaged: ")
    assert complaint.count("\n") == 1
    status, _, complaint = autoprune("report", BAD)
    assert (status, complaint.count("\n")) == (0, 1)
    assert autoprune("compare", BAD, GOOD)[0] == 0


@pytest.mark.parametrize("parameters", ["[]", "null", "3", '"text"'])
def test_a_trial_whose_parameters_have_no_names_has_failed(home, autoprune, parameters):
    with closing(sqlite3.connect(home.database)) as db, db:
        add_event(db, "t9", "WAITING", f'{{"parameter_id": null, "parameters": {parameters}}}', 9)
        add_event(db, "t9", "SUCCEEDED", None, 9)
        add_result(db, "t9", DENSE)
    experiment = load_experiment(home.folder)
    (trial,) = experiment.failed
    assert trial.reason == f"its parameters are {parameters}, where names with values belong"
    assert "t9" not in [each.id for each in experiment.front()]
    for command in ("list", "pareto", "report", "watch"):
        assert autoprune(*([command] if command == "list" else [command, BAD]))[0] == 0
    others_are_read(autoprune)


@pytest.mark.parametrize("damage", ["halved", "emptied", "list", "foreign entries"])
def test_a_damaged_registry_is_put_together_again_from_the_folders(home, autoprune, damage):
    known = registry()
    entries = json.loads(home.registry.read_text())
    if damage == "halved":
        halve(home.registry)
    else:
        more = entries | {"x": None, "y": {"logDir": 3}, "z": {}, "w": {"logDir": "/nowhere", "startTime": "N/A"}}
        home.registry.write_text({"emptied": "", "list": "[1]", "foreign entries": json.dumps(more)}[damage])
    status, said, _ = autoprune("list")
    assert status == 0
    for name in (GOOD, BAD, LATEST):
        assert f"name of {name}" in said and "done" in row(said, name)
    assert "_latest" not in said
    assert autoprune("pareto", "latest")[0] == 0
    assert {key: each["startTime"] for key, each in registry().items() if key in known} == {
        key: each["startTime"] for key, each in known.items()
    }


def test_a_new_experiment_does_not_empty_a_damaged_registry(home):
    from nni.tools.nnictl.config_utils import Experiments

    from autoprune.nni.bridge import install_patches

    install_patches()
    halve(home.registry)
    Experiments(str(home.root)).add_experiment("new00001", 8081, 99, "local", "new", logDir=str(home.root))
    assert set(json.loads(home.registry.read_text())) == {GOOD, BAD, LATEST, "new00001"}


def test_the_half_of_a_trial_s_result_fails_no_other_trial(home):
    from autoprune.trial.record import finished_baselines

    halve(home.trial(3) / "result.json")
    assert finished_baselines(home.trial(3).parent) == {}
