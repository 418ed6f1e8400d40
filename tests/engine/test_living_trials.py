"""Real trials in workers, asked for as NNI does: what they find, and what they leave behind."""

import pytest
from trial_processes import trials

TASK = """
import os
from dataclasses import replace
import torch
from tiny import make_task

task = make_task()[0]

def loss(outputs, batch):
    trouble = os.environ.get("TROUBLE")
    if trouble == "memory":
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of which "
            "5.00 MiB is free. Process 1 has 70.00 GiB memory in use."
        )
    if trouble == "memory by another name":
        raise RuntimeError("Second device: out of memory (asked for 7 bytes)")
    if trouble == "device":
        raise RuntimeError("device-side assert triggered")
    return torch.nn.functional.cross_entropy(outputs, batch[1])

task = replace(task, loss=loss)
"""


@pytest.mark.slow
def test_trials_in_a_worker_find_what_those_in_a_process_of_their_own_find(tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    asked = [{"sparsity": 0.5}, {"sparsity": 0.5, "schedule": "agp"}]
    with trials(tmp_path) as experiment:
        found = [experiment.run("workers", parameters).counted for parameters in asked]
        (first,) = experiment.workers()

        for trouble, needed in [("memory", "20.00 MiB more were needed"), ("memory by another name", "7 bytes")]:
            failed = experiment.run("workers", asked[0], TROUBLE=trouble)
            assert failed.status == 1 and len(failed.failure.splitlines()) == 1
            assert needed in failed.failure and "lower trialConcurrency" in failed.failure
            assert "Traceback" not in failed.said
        assert experiment.run("workers", asked[1]).counted == found[1]  # what went before does not matter
        assert experiment.workers() == [first]

        failed = experiment.run("workers", asked[0], TROUBLE="device")
        assert failed.failure == "RuntimeError: device-side assert triggered\n"
        assert "Traceback" in failed.said
        assert experiment.run("workers", asked[0]).counted == found[0]
        assert first not in experiment.workers()

        assert [experiment.run("here", parameters).counted for parameters in asked] == found
