"""Reading what a manager left behind."""

import json
import sqlite3
import subprocess
import sys

from autoprune.nni.database import load_experiment

KILLED_WHILE_WRITING = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("pragma cache_size = 1")
db.executemany("insert into MetricData values ('t', 'FINAL', ?)", [("x" * 2000,)] * 100)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_database_whose_manager_was_killed_while_writing_is_read(tmp_path):
    file = tmp_path / "db" / "nni.sqlite"
    file.parent.mkdir()
    db = sqlite3.connect(file)
    db.execute("create table ExperimentProfile (params text, revision int)")
    db.execute("create table TrialJobEvent (timestamp int, trialJobId text, event text, data text, sequenceId int)")
    db.execute("create table MetricData (trialJobId text, type text, data text)")
    db.execute("insert into ExperimentProfile values (?, 1)", [json.dumps({"experimentName": "mine"})])
    db.commit()
    db.close()
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)], check=False)
    assert file.with_name("nni.sqlite-journal").exists()

    assert load_experiment(tmp_path).name == "mine"
