"""Trials of an experiment on the device: in workers, which hold it."""

import pytest
from trial_processes import trials

pytestmark = pytest.mark.slow

TASK = """
import os
from dataclasses import replace
import torch
from tiny import make_task

def loss(outputs, batch):
    if os.environ.get("TROUBLE"):
        torch.empty(10**13, device=outputs.device)
    return torch.nn.functional.cross_entropy(outputs, batch[1])

task = replace(make_task()[0], loss=loss)
"""


@pytest.fixture
def paths(made_up, tmp_path):
    """Where processes find the device: PyTorch loads backends that packages declare."""
    if not made_up:
        return ()
    package = tmp_path / "paths" / "second_device-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: second-device\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[torch.backends]\nsecond = second_device:register\n")
    return package.parent, __file__.rpartition("/")[0]


def test_a_worker_runs_trials_on_the_device_and_outlives_its_being_full(tmp_path, device, made_up, paths):
    (tmp_path / "task.py").write_text(TASK)
    with trials(tmp_path, paths, ("--device", str(device))) as experiment:
        how = {"SECOND_DEVICE_BYTES": str(2**30)}
        found = experiment.run(None, {"sparsity": 0.5}, **how).counted
        (worker,) = experiment.workers()

        failed = experiment.run(None, {"sparsity": 0.5}, TROUBLE="memory", **how)
        assert failed.status == 1 and failed.failure.startswith("the device ran out of memory")
        assert "more were needed, this process held 0.0" in failed.failure

        again = experiment.run(None, {"sparsity": 0.5}, **how).counted
        assert experiment.workers() == [worker]
        if made_up:
            assert again == found == experiment.run("here", {"sparsity": 0.5}, **how).counted
