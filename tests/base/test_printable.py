"""Text from files reaches the terminal without the characters that would command it."""

import io
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table

from autoprune.base.printable import printable
from autoprune.report.terminal import Console

# Red, a cleared screen, a title, a link, red in one byte, a backspace, a reset, an overwritten line, turned letters.
COMMANDS = [
    "\x1b[31m",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x07",
    "\x9b31m",
    "a\b",
    "\x1bc",
    "\r",
]
COMMANDS += ["\u202egnp.exe", "\0", "\x7f"]


@pytest.mark.parametrize("command", COMMANDS)
def test_text_keeps_its_letters_and_loses_its_commands(command):
    letters = "".join(letter for letter in command if letter.isprintable())
    assert printable(f"före\t{command}after\n") == f"före\t{letters}after\n"


def test_the_console_prints_no_commands_of_others():
    for terminal in (False, True):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=100, color_system="truecolor" if terminal else None)
        table = Table("name", title="".join(COMMANDS))
        table.add_row("".join(COMMANDS))
        with console.status("".join(COMMANDS)):
            console.print(table, f"[bold]{''.join(COMMANDS)}[/]")
        with Live(console=console) as live:
            live.update("".join(COMMANDS))
        printed = file.getvalue()
        assert "title" in printed
        for command in ("\x1b[31m", "\x1b[2J", "\x1b]", "\x9b", "\b", "\x1bc", "\u202e", "\0", "\x7f", "\x07"):
            assert command not in printed
        assert ("\x1b[1m" in printed) == terminal  # bold is our own


def test_a_damaged_search_commands_no_terminal(tmp_path):
    """Its name, a trial's id and why one failed, as ``list``, ``pareto`` and ``watch`` print them."""
    words = "\x1b[2J\x1b]0;owned\x07\x9b31m"
    folder = tmp_path / "nni-experiments" / "x"
    (folder / "db").mkdir(parents=True)
    trial = folder / "environments" / "local-env" / "trials" / "failed"
    trial.mkdir(parents=True)
    (trial / "failure.txt").write_text(f"it failed {words}")
    (trial.parent / f"id{words}").mkdir()
    known = {"x": {"id": "x", "logDir": str(folder.parent), "startTime": 1, "status": "STOPPED", "port": 1, "pid": 0}}
    known["x"] |= {"experimentName": f"name{words}", "endTime": 2, "platform": "local", "webuiUrl": [], "tag": []}
    (folder.parent / ".experiment").write_text(json.dumps(known))
    measures = {"accuracy": 0.9, "params": 1, "macs": 1, "bytes": 1, "latency_ms": 1.0}
    parameters = json.dumps({"parameter_id": 0, "parameters": {"criterion": f"l1{words}", "sparsity": {}}})
    with sqlite3.connect(folder / "db" / "nni.sqlite") as db:
        db.execute("create table ExperimentProfile (params text, revision integer)")
        db.execute("create table MetricData (trialJobId text, type text, data text)")
        db.execute("create table TrialJobEvent (timestamp, trialJobId, event, data, sequenceId)")
        config = {"trialCommand": "autoprune trial digits", "experimentName": f"name{words}", "maxTrialNumber": 2}
        db.execute("insert into ExperimentProfile values (?, 1)", [json.dumps(config)])
        for number, (id_, status) in enumerate((("failed", "FAILED"), (f"id{words}", "SUCCEEDED"))):
            for event, data in (("WAITING", parameters), (status, None)):
                db.execute("insert into TrialJobEvent values (1, ?, ?, ?, ?)", [id_, event, data, number])
        metric = json.dumps(json.dumps(measures))
        db.execute("insert into MetricData values (?, 'FINAL', ?)", [f"id{words}", metric])
    for command in (["list"], ["pareto", "x"], ["pareto", "x", "--format", "csv"], ["watch", "x"], ["watch", words]):
        program = str(Path(sys.executable).with_name("autoprune"))
        done = subprocess.run([program, *command], env={"HOME": str(tmp_path), "PATH": ""}, capture_output=True)
        printed = (done.stdout + done.stderr).decode()
        assert "Traceback" not in printed
        assert not set("\x1b\x07\x9b") & set(printed), (command, printed)
        assert "owned" in printed
