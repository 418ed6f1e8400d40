"""What `autoprune run` tries before a search leaves its process fit for what follows."""

import os
import subprocess
import sys

TRIED = """
import os

import torch
from autoprune.export.possible import possible
from autoprune.task.find import load_task

task = load_task("digits")
model, inputs = task.build(), torch.zeros(2, 1, 8, 8)
print(possible(task, model))
model(inputs).sum().backward()  # as the steps that are timed
if os.fork() == 0:  # as the fine-tuning of the front
    model(inputs).sum().backward()
    os._exit(0)
print(os.wait()[1])
"""


RUN = """
import sys
from pathlib import Path

from autoprune.nni import bridge, run
from nni.experiment import launcher


def refuse(*_):
    raise OSError


launcher._start_rest_server = refuse
sys.exit(run.run("config.yaml", int(sys.argv[1]), "drop<=1%", Path.cwd()))
"""

SHARES = {"_type": "quniform", "_value": [0, 0.9, 0.1]}

OWN = """
from dataclasses import replace

from autoprune.task.find import load_task

with open("loaded.txt", "a") as file:
    file.write("x")
digits = load_task("digits")
task = replace(digits, name="own", training=replace(digits.training, steps=2))
"""


def test_a_task_s_file_is_run_once_before_the_first_trial(nni_home):
    (nni_home.home / "own.py").write_text(OWN)
    tuner = {"className": "autoprune.search.OptunaTuner", "codeDirectory": "."}
    nni_home.config(trialCommand="autoprune trial own.py", searchSpace={"sparsity": SHARES}, tuner=tuner)
    command = [sys.executable, "-c", RUN, str(nni_home.port)]
    here = {"env": nni_home.environment, "cwd": nni_home.home}
    done = subprocess.run(command, **here, capture_output=True, text=True, timeout=200)
    assert "NNI's manager ended while it started" in done.stderr
    assert (nni_home.home / "loaded.txt").read_text() == "x"


def test_processes_that_are_forked_after_the_formats_were_tried_can_train():
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # as `autoprune run` has it
    done = subprocess.run([sys.executable, "-c", TRIED], env=alone, capture_output=True, text=True, timeout=200)
    assert done.stdout == "(('pt2', 'onnx', 'state_dict'), [])\n0\n", done.stderr
