"""The folder in which trials find the warm process: nobody else can enter it, and there always is one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autoprune.engine import client, warm


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Return a function that says in which folder a trial looks for the warm process, as its path in TMPDIR."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "http://localhost:1/env/local-env/x")
    monkeypatch.setenv("NNI_EXP_ID", "experiment")

    def find() -> Path | None:
        address = client._address(["digits"])
        return address and address.parent.relative_to(tmp_path)

    return find


def first(tmp_path) -> Path:
    return tmp_path / f"autoprune-{os.getuid()}"


def assert_private(folder: Path):
    assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
    assert folder.lstat().st_uid == os.getuid()
    assert not folder.is_symlink()


def test_it_is_private_and_all_trials_find_the_same(found, tmp_path):
    assert found() == found() == Path(first(tmp_path).name)
    assert_private(first(tmp_path))


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o710])
def test_one_that_others_can_enter_is_passed_over(found, tmp_path, mode):
    first(tmp_path).mkdir()
    first(tmp_path).chmod(mode)
    (first(tmp_path) / "theirs").touch()
    assert found() == found() == Path(f"{first(tmp_path).name}-1")
    assert_private(tmp_path / found())
    assert stat.S_IMODE(first(tmp_path).stat().st_mode) == mode


def test_a_link_or_a_file_in_its_place_is_passed_over(found, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    first(tmp_path).symlink_to(private)
    first(tmp_path).with_name(f"{first(tmp_path).name}-1").touch()
    assert found() == Path(f"{first(tmp_path).name}-2")
    assert list(private.iterdir()) == []


def test_a_strangers_folder_is_passed_over(found, tmp_path, monkeypatch):
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    assert found() is None  # whatever this process makes belongs to another than the one it now seems to be


@pytest.mark.parametrize("place", ["nothing/there", "file"])
def test_a_trial_runs_cold_where_there_is_no_folder_to_be_had(found, tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / place))
    assert found() is None
    assert warm.run(["digits"], "autoprune.nni.warm_trials") is None


def test_an_unknown_engine_is_refused_in_one_line():
    environment = os.environ | {"AUTOPRUNE_ENGINE": "wram"}
    command = [sys.executable, "-m", "autoprune", "trial", "digits"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "autoprune: unknown engine 'wram': use warm\n")


@pytest.mark.parametrize("words", [["--device", "cuda"], ["--device=cuda:1"], ["--device", "cpu", "--device", "mps"]])
def test_a_trial_on_another_device_than_the_cpu_is_not_forked(monkeypatch, words):
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "ws://127.0.0.1:1/x")
    monkeypatch.setattr(client, "_address", lambda common: pytest.fail("it asked for the warm process"))
    assert warm.run(["digits", *words], "autoprune.nni.warm_trials") is None


@pytest.mark.parametrize("words", [[], ["--device", "cpu"], ["--device", "auto", "--device", "cpu"]])
def test_a_trial_on_the_cpu_is(monkeypatch, words):
    monkeypatch.delenv("AUTOPRUNE_ENGINE", raising=False)
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "ws://127.0.0.1:1/x")
    asked = []
    monkeypatch.setattr(client, "_address", asked.append)
    assert warm.run(["digits", *words], "autoprune.nni.warm_trials") is None
    assert asked == [["warm", "digits", *words]]
