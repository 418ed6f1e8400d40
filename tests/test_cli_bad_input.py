"""Bad input: one line that says what is wrong, exit status 2, and nothing started."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from autoprune import __main__, cli
from autoprune.errors import UserError
from autoprune.nni import bridge, show
from autoprune.task.find import load_task

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


RL, PARETO = "autoprune.search.AmcTuner", "autoprune.search.assessor.ParetoAssessor"
MINE = """
from nni.algorithms.hpo.random_tuner import RandomTuner
class Tuner(RandomTuner):
    def __init__(self, depth):
        raise ValueError("depth must be positive")
"""


def tuner(**arguments) -> dict:
    return CONFIG["tuner"] | {"classArgs": arguments}


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
    "device": ({"trialCommand": "autoprune trial digits --device xpu:99"}, "there is no device xpu:99 here"),
    "runtime": ({"trialCommand": "autoprune trial digits --latency eagr"}, "unknown runtime 'eagr': use eager"),
    "sampler of another kind": ({"tuner": tuner(sampler=["tpe"])}, "unknown sampler ['tpe']: use tpe"),
    "no objectives": (
        {"tuner": tuner(objectives=None)},
        "objectives must be a list, such as [accuracy, macs], not None",
    ),
    "an objective twice": (
        {"tuner": tuner(objectives=["macs", "macs"])},
        "objectives must be there once each, not ['macs', 'macs']",
    ),
    "tuner seed": ({"tuner": tuner(seed=2**32)}, "seed must be at most 2,147,483,647, not 4294967296"),
    "storage": ({"tuner": tuner(storage="config.yaml/study")}, "config.yaml is a file"),
    "a drop without a dense accuracy": (
        {"trialCommand": "autoprune trial digits --no-warm-start", "tuner": tuner(constraints=["drop<=1%"])},
        "take --no-warm-start out of the trial command",
    ),
    "a limit that is no number": (
        {"tuner": tuner(constraints=["macs<=1e999"])},
        "macs<=1e999: must be a finite number",
    ),
    "the RL tuner unprepared": (
        {"trialCommand": "autoprune trial digits --no-warm-start", "tuner": CONFIG["tuner"] | {"className": RL}},
        "without --no-warm-start",
    ),
    "built-in tuner's argument": (
        {"tuner": {"name": "TPE", "classArgs": {"optimize_mode": "maximise"}}},
        "tuner TPE: ValueError: 'maximise' is not",
    ),
    "a tuner of one's own": (
        {"tuner": {"className": "mine.Tuner", "codeDirectory": ".", "classArgs": {"depth": 0}}},
        "tuner mine.Tuner: ValueError: depth must be positive",
    ),
    "assessor": ({"assessor": {"name": "Medianstopp"}}, "unknown assessor 'Medianstopp': NNI has Medianstop"),
    "assessor's argument": (
        {"assessor": {"className": PARETO, "codeDirectory": ".", "classArgs": {"margin": float("nan")}}},
        "assessor: margin must be at most 1, not nan",
    ),
    "concurrency": ({"trialConcurrency": 0}, "config.yaml: field trialConcurrency must be at least 1, not 0"),
    "concurrency in words": ({"trialConcurrency": "two"}, "field trialConcurrency must be a whole number, not 'two'"),
    "trials": ({"maxTrialNumber": -1}, "field maxTrialNumber must be at least 1, not -1"),
    "duration": (
        {"maxExperimentDuration": "soon"},
        "maxExperimentDuration must be a time such as 30m, 2h or 1d, not 'soon'",
    ),
    "platform": ({"trainingService": {"platform": "locl"}}, "Bad training service platform: locl"),
    "no platform": ({"trainingService": {}}, "trainingService must have a platform: {platform: local}"),
    "field of a section": (
        {"tuner": CONFIG["tuner"] | {"clasArgs": {}}},
        "unknown field tuner.clasArgs: did you mean classArgs?",
    ),
    "two search spaces": ({"searchSpaceFile": "x.yaml"}, "must have either a searchSpaceFile or a searchSpace"),
    "no tuner": ({"tuner": None}, "must have a tuner: `className: autoprune.search.OptunaTuner`"),
    "working directory": ({"experimentWorkingDirectory": "config.yaml/x"}, "config.yaml is a file"),
    "a name too long": ({"experimentName": "x" * 300}, "experimentName must have at most 100 characters"),
    "search space file": ({"searchSpace": None, "searchSpaceFile": "none.yaml"}, "none.yaml: cannot be read"),
}


@pytest.mark.parametrize("changes, message", WRONG.values(), ids=WRONG)
def test_a_wrong_config_is_refused(autoprune, config, tmp_path, changes, message):
    (tmp_path / "mine.py").write_text(MINE)
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


TEXTS = {
    "a list": ("- 1\n", "must map names to values"),
    "a name twice": ("tuner: 1\ntuner: 2\n", "line 2, column 1: not valid YAML: 'tuner' is there twice"),
    "an alias bomb": (
        "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}, *a{i}]\n" for i in range(30)),
        "with what aliases repeat",
    ),
    "5,000 brackets": ("a: " + "[" * 5000, "more than 50 deep"),
    "a tab": ("a:\n\t- 1\n", "line 2, column 1"),
    "a date": ("experimentName: 2026-01-01\n", "line 1, column 17: not valid YAML: a timestamp means nothing here"),
    "a character of no text": ('experimentName: "a\\0b"\n', "a character that is not text"),
    "another encoding": (b"\xff\xfea\x00", "is not a text file in UTF-8"),
    "too many digits": ("maxTrialNumber: " + "9" * 5000, "is no int"),
    "too much": ("#" * 2**21, "is larger than 1 MiB"),
}


@pytest.mark.parametrize("text, message", TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_config_is_refused_at_once(autoprune, tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in autoprune("run", "wrong.yaml")


WORDS = {
    "rule": (["run", "config.yaml", "--choose", "flops<=1M"], "cannot choose by 'flops<=1M': use drop<=1%"),
    "rule's number": (["run", "config.yaml", "--choose", "drop<=200%"], "more than 100 %"),
    "results in a file": (["run", "config.yaml", "-o", "file"], "file: is a file: name a folder"),
    "results under a file": (["run", "config.yaml", "-o", "file/results"], "file is a file"),
    "results that the system refuses": (
        ["run", "config.yaml", "-o", "/proc/results"],
        "/proc/results: cannot be written",
    ),
    "a directory as the config": (["run", "folder"], "folder: cannot be read: is a directory"),
    "port": (["run", "config.yaml", "--port", "65536"], "Invalid value for '--port'"),
    "port 0": (["resume", "abc", "--port", "0"], "Invalid value for '--port'"),
    "option": (["run", "config.yaml", "--prot", "1"], "No such option"),
    "command": (["rum"], "No such command 'rum'"),
    "nothing to run": (["run"], "Missing argument 'CONFIG'"),
    "picture": (["pareto", "abc", "--plot", "front.xyz"], "front.xyz: cannot draw a .xyz"),
    "picture under a file": (["compare", "abc", "--plot", "file/front.png"], "file is a file"),
    "sensitivity's picture": (["sensitivity", "digits", "--plot", "folder.d"], "cannot draw a .d"),
    "report": (["report", "abc", "-o", "folder"], "folder: is a folder: name a file"),
    "latency": (["latency", "abc", "-o", "file/figures.json"], "file is a file"),
    "space": (["space", "digits", "-o", "folder"], "folder: is a folder: name a file"),
    "threads": (["latency", "abc", "--threads", "999999"], "threads must be at most"),
    "batch sizes": (["latency", "abc", "--batch-sizes", "99999999"], "batch size must be at most 65,536"),
    "shape": (
        ["groups", "torchvision.models:squeezenet1_0", "--shape", "1,3"],
        "does not run on an input of the --shape",
    ),
    "trials": (["recipe", "digits", "--trials", "0"], "Invalid value for '--trials'"),
}


@pytest.mark.parametrize("words, message", WORDS.values(), ids=WORDS)
def test_wrong_words_are_refused_in_one_line(autoprune, config, tmp_path, words, message):
    config()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    assert message in autoprune(*words)
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} <= before | {"nni"}


def test_an_interrupt_ends_a_command_without_a_word(monkeypatch, capfd):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "show_front", interrupted)
    monkeypatch.setattr(sys, "argv", ["autoprune", "pareto", "abc"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 130
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_a_reader_that_goes_away_is_no_error(tmp_path, words):
    with subprocess.Popen(
        [AUTOPRUNE, *words],
        env=os.environ | {"HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("port", [0, 65_536, -1])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(UserError, match="port must be at"):
        bridge.check_port(port)


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
