"""The bridge registers with NNI as ``nnictl trainingservice register`` would."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from conftest import NNICTL

from autoprune.nni import bridge

PACKAGE = "autoprune.nni.bridge"


def test_many_processes_may_register_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: bridge.register(), range(40)))
    assert list(json.loads((tmp_path / "training_services.json").read_text())) == [PACKAGE]


def test_a_bridge_that_was_registered_where_it_used_to_be_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    (tmp_path / "training_services.json").write_text(json.dumps({"autoprune.experiment.bridge": {}, "others": {}}))
    bridge.register()
    assert list(json.loads((tmp_path / "training_services.json").read_text())) == ["others", PACKAGE]


def test_nnictl_registers_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "ours"))
    bridge.register()
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nnictl"))
    subprocess.run([NNICTL, "trainingservice", "register", "--package", PACKAGE], check=True)
    ours, theirs = (json.loads((tmp_path / name / "training_services.json").read_text()) for name in ("ours", "nnictl"))
    assert ours == theirs


def test_importing_the_bridge_does_not_import_torch():
    code = f"import sys, {PACKAGE}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
