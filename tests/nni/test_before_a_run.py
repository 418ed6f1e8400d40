"""What `autoprune run` tries before a search leaves its process fit for what follows."""

import os
import subprocess
import sys

TRIED = """
import os
from types import SimpleNamespace

import torch
from autoprune.nni.run import _formats
from autoprune.task.find import load_task

task = load_task("digits")
model, inputs = task.build(), torch.zeros(2, 1, 8, 8)
print(_formats(SimpleNamespace(task=task, model=model)))
model(inputs).sum().backward()  # as the steps that are timed
if os.fork() == 0:  # as the fine-tuning of the front
    model(inputs).sum().backward()
    os._exit(0)
print(os.wait()[1])
"""


def test_processes_that_are_forked_after_the_formats_were_tried_can_train():
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # as `autoprune run` has it
    done = subprocess.run([sys.executable, "-c", TRIED], env=alone, capture_output=True, text=True, timeout=200)
    assert done.stdout == "('pt2', 'onnx', 'state_dict')\n0\n", done.stderr
