"""Bad input: one line that says what is wrong, exit status 2, and nothing started."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from autoprune import cli
from autoprune.task import load_task

AUTOPRUNE = str(Path(sys.executable).with_name("autoprune"))
CONFIG = {
    "experimentName": "bad",
    "searchSpace": {"sparsity.hidden": {"_type": "quniform", "_value": [0, 0.875, 0.125]}},
    "trialCommand": "autoprune trial digits",
    "trialCodeDirectory": ".",
    "trialConcurrency": 1,
    "maxTrialNumber": 2,
    "tuner": {"className": "autoprune.search.OptunaTuner", "codeDirectory": "."},
    "trainingService": {"platform": "local"},
}


@pytest.fixture
def autoprune(tmp_path, monkeypatch, capfd):
    """Run the command line in a home of its own and check that nothing was started."""
    for name, value in {"HOME": tmp_path, "NNI_CONFIG_DIR": tmp_path / "nni"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["autoprune", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        return only_line(capfd.readouterr().err, tmp_path)

    return run


def only_line(errors: str, home: Path) -> str:
    assert not list(home.glob("nni-experiments/*/db"))
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("autoprune: ")
    return lines[0]


@pytest.fixture
def config(tmp_path):
    def write(**changes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(CONFIG | changes))
        return path

    return write


WRONG = {
    "task": ({"trialCommand": "autoprune trial digitz"}, "unknown task 'digitz': did you mean digits?"),
    "trial command": ({"trialCommand": "python train.py"}, "trialCommand must be `autoprune trial TASK`"),
    "a name that is a path": ({"experimentName": "../../bad"}, "experimentName '../../bad' names a folder"),
    "option": ({"trialCommand": "autoprune trial digits --sed 1"}, "unrecognized arguments: --sed"),
    "criterion": (
        {"searchSpace": {"criterion": {"_type": "choice", "_value": ["l1norm"]}}},
        "unknown criterion 'l1norm': use l1_norm",
    ),
    "sparsity": (
        {"searchSpace": {"sparsity.hidden": {"_type": "uniform", "_value": [0, 1.5]}}},
        "reaches 1.5: a sparsity must lie in [0, 1)",
    ),
    "group": (
        {"searchSpace": {"sparsity.hiden": {"_type": "uniform", "_value": [0, 0.5]}}},
        "the model has no group 'hiden': it has hidden",
    ),
    "built-in tuner": ({"tuner": {"name": "TPEE"}}, "unknown tuner 'TPEE': NNI has TPE"),
    "tuner class": (
        {"tuner": {"className": "autoprune.search.OptunTuner", "codeDirectory": "."}},
        "autoprune.search has no class OptunTuner: did you mean autoprune.search.OptunaTuner?",
    ),
    "tuner module": (
        {"tuner": {"className": "autoprun.Tuner", "codeDirectory": "."}},
        "module autoprun cannot be imported",
    ),
    "tuner argument": (
        {"tuner": CONFIG["tuner"] | {"classArgs": {"samplr": "tpe"}}},
        "unexpected keyword argument 'samplr'; it takes objectives, sampler",
    ),
    "sampler": (
        {"tuner": CONFIG["tuner"] | {"classArgs": {"sampler": "nsga"}}},
        "unknown sampler 'nsga': use nsga3, nsga2",
    ),
    "field of the config": ({"trialConcurency": 2}, "unknown field trialConcurency: did you mean trialConcurrency?"),
    "checkpoint": ({"trialCommand": "autoprune trial digits --checkpoint wrong.pt"}, "does not fit the model of task"),
    "search space file": ({"searchSpace": None, "searchSpaceFile": "none.yaml"}, "none.yaml: cannot be read"),
}


@pytest.mark.parametrize("changes, message", WRONG.values(), ids=WRONG)
def test_a_wrong_config_is_refused(autoprune, config, tmp_path, changes, message):
    torch.save({"hidden.weight": torch.zeros(3)}, tmp_path / "wrong.pt")
    path = config(**changes)
    content = {key: value for key, value in yaml.safe_load(path.read_text()).items() if value is not None}
    path.write_text(yaml.safe_dump(content))
    assert message in autoprune("run", path)


def test_a_wrong_config_ends_the_process_with_status_2(config, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NNI", "NODE"))}
    environment |= {"HOME": str(tmp_path), "NNI_CONFIG_DIR": str(tmp_path / "nni")}
    command = [AUTOPRUNE, "run", str(config(trialCommand="autoprune trial digitz"))]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "unknown task 'digitz'" in only_line(done.stderr, tmp_path)


def test_broken_yaml_is_reported_with_line_and_column(autoprune, tmp_path):
    (tmp_path / "broken.yaml").write_text("trialCommand: x\ntuner: [a\nb: c\n")
    assert "line 3, column 2: not valid YAML" in autoprune("run", "broken.yaml")


def test_a_missing_config_is_reported(autoprune):
    assert "none.yaml: cannot be read" in autoprune("run", "none.yaml")


def test_a_port_in_use_is_reported(autoprune, config):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in autoprune("run", config(), "--port", port)


def test_a_missing_data_set_is_reported_with_how_to_get_it(autoprune, config):
    assert "download=True" in autoprune(
        "run",
        config(
            trialCommand="autoprune trial fashion_mnist",
            searchSpace={"sparsity.conv2": {"_type": "uniform", "_value": [0, 0.5]}},
        ),
    )


@pytest.mark.parametrize("command", ["pareto", "export", "report"])
def test_an_unknown_experiment_is_reported(autoprune, command):
    assert "no experiment 'abc': there is none yet" in autoprune(command, "abc")


@pytest.mark.parametrize("command", ["space", "groups"])
def test_an_unknown_task_is_reported(autoprune, command):
    assert "unknown task 'digitz'" in autoprune(command, "digitz")


def test_a_schedule_that_needs_the_weights_before_a_checkpoints_training(autoprune, config, tmp_path):
    torch.save(load_task("digits").build().state_dict(), tmp_path / "mine.pt")
    space = CONFIG["searchSpace"] | {"schedule": {"_type": "choice", "_value": ["one_shot", "rigl"]}}
    file = config(searchSpace=space, trialCommand="autoprune trial digits --checkpoint mine.pt")
    assert "schedule rigl needs the weights before training" in autoprune("run", file)
    file = config(searchSpace=space, trialCommand="autoprune trial digits --checkpoint mine.pt --initial none.pt")
    assert "none.pt does not exist" in autoprune("run", file)
