"""`autoprune doctor` says what is there, what is wrong, and how to mend it."""

import os
import shutil
import socket
import sys
from types import SimpleNamespace

import pytest

from autoprune import cli
from autoprune.base.progress import reported_to
from autoprune.nni import doctor


@pytest.fixture
def examined(monkeypatch, tmp_path, capsys, port):
    """Run the doctor in a home of its own; return its exit status and what it said."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nni"))

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["autoprune", "doctor", "--port", str(port), *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().out

    return run


def test_a_missing_registration_is_said_and_mended(examined):
    status, said = examined()
    assert status == 1
    assert "1 wrong:\n  bridge: not registered" in said and "mend it: autoprune doctor --mend" in said
    status, said = examined("--mend")
    assert status == 0, said
    assert "Nothing is wrong." in said
    for what in ("autoprune", "torch", "cores", "is free", "Node", str(os.environ["AUTOPRUNE_CACHE"])):
        assert what in said


def test_a_taken_port_a_full_disk_and_another_version_are_said(examined, monkeypatch, port):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["torch>=99", "nothing-of-the-kind"])
    with socket.create_server(("127.0.0.1", port)):
        status, said = examined("--mend")
    assert status == 1
    assert f"port: port {port} is in use" in said
    assert "the disk is nearly full" in said
    assert "torch is" in said and "not >=99; nothing-of-the-kind is not installed" in said


def test_a_check_that_fails_is_something_wrong_and_keeps_no_other_from_being_made(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(doctor, "describe", lambda: 1 / 0)
    heard = set()
    with reported_to(lambda stages: heard.update(f"{stage.what}: {stage.note()}" for stage in stages)):
        found = {each.what: each for each in doctor.examine(8080)}
    assert "look: experiments" in heard  # whose size takes long to add up
    assert found["machine"].wrong.startswith("ZeroDivisionError")
    assert not found["manager"].wrong
