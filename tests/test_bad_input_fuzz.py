"""A thousand broken configs, search spaces and options: each is refused in one line, or can really be used."""

import copy
import datetime
import functools
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from nni.tools.package_utils import config_manager

from autoprune.errors import UserError
from autoprune.nni import algorithms, preflight, try_algorithm
from autoprune.prune import find
from autoprune.results.candidate import Candidate
from autoprune.results.prepared import Prepared
from autoprune.results.settings import TrialCommand
from autoprune.search.tuners.optuna.samplers import SAMPLERS
from autoprune.task.find import load_task
from autoprune.train import fit
from autoprune.trial import setup

CASES, BATCHES = 1000, 10
VALUES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        3,
        2**31,
        2**32,
        2**63,
        10**400,
        0.5,
        -0.0,
        1e-9,
        1e308,
        math.nan,
        math.inf,
        -math.inf,
    ),
    *(
        "",
        " ",
        "x",
        "1",
        "nan",
        "a\0b",
        "ü",
        "../x",
        "/proc/x",
        "\ud7ff",
        "no such",
        "x" * 5000,
        "30m",
        "0s",
        "{}",
        "%",
    ),
    *([], [None], [[]], [0.5], [0, 1], [0.5, 0.5], ["accuracy", "accuracy"], ["accuracy", "macs"], {}, {"a": 1}),
    *(datetime.date(2026, 1, 1), "digits", "sqlite:///x.db", "sqlite:////proc/x/y.db", "nosuch://x", ["drop<=1%"]),
]
SPACE = {
    "criterion": {"_type": "choice", "_value": ["l1_norm", "level"]},
    "schedule": {"_type": "choice", "_value": ["supernet", "one_shot"]},
    "sparsity.stem.0": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]},
    "sparsity.hidden": {"_type": "uniform", "_value": [0, 0.5]},
    "sparsity.down.0": {"_type": "choice", "_value": [0, 0.5]},
}
TYPES = [
    "choice",
    "randint",
    "uniform",
    "uniform",
    "quniform",
    "quniform",
    "loguniform",
    "qloguniform",
    "qnormal",
    "quniforn",
]
TUNERS = [
    {
        "className": "autoprune.search.OptunaTuner",
        "codeDirectory": ".",
        "classArgs": {"objectives": ["accuracy", "macs"], "sampler": "tpe", "seed": 0, "constraints": ["macs<=20M"]}
        | {"rungs": True, "reduction": 3, "study": "mine", "storage": "study.journal"},
    },
    {
        "className": "autoprune.search.AmcTuner",
        "codeDirectory": ".",
        "classArgs": {"target": 0.5, "size": "macs", "warmup": 3, "shaping": True, "seed": 0},
    },
    {"name": "TPE", "classArgs": {"optimize_mode": "maximize", "seed": 1}},
    {"name": "Random", "classArgs": {"seed": 1}},
    {"name": "Evolution", "classArgs": {"optimize_mode": "maximize", "population_size": 10}},
    {"name": "GridSearch"},
]
ASSESSOR = {
    "className": "autoprune.search.assessor.ParetoAssessor",
    "codeDirectory": ".",
    "classArgs": {"objectives": ["accuracy", "macs"], "min_trials": 5, "quantile": 0.9, "margin": 0.01},
}
CONFIG = {
    "experimentName": "fuzz",
    "searchSpace": SPACE,
    "trialCommand": "autoprune trial digits",
    "trialCodeDirectory": ".",
    "trialConcurrency": 2,
    "maxTrialNumber": 20,
    "maxExperimentDuration": "30m",
    "experimentWorkingDirectory": "work",
    "logLevel": "info",
    "assessor": ASSESSOR,
    "trainingService": {"platform": "local"},
}
OPTIONS = [
    "--seed",
    "--round-to",
    "--recovery-steps",
    "--supernet-steps",
    "--size-weight",
    "--recipe-trials",
    "--seeds",
]
OPTIONS += ["--checkpoint", "--latency", "--latency-batch", "--sed", "-x", ""]
WORDS = ["1", "0", "-1", "1.5", "nan", "inf", "1e400", "eager", "compile", "''", "x", "9" * 5000, "4294967296", "'"]
RIGHT_WORDS = ["--seed 7", "--size-weight 0", "--no-warm-start", "--no-baselines", "--latency compile", "--seeds 1"]
RIGHT_ARGUMENTS = {
    "sampler": [name for name in SAMPLERS if name != "gp"],
    "objectives": [["accuracy", "params"], ["latency_ms", "accuracy"], ["bytes", "macs", "accuracy"], ["macs"]],
    "constraints": [[], None, ["drop<=1%"], ["accuracy>=.5", "params<=1k"], ["macs<=1e400"], ["macs<=1", "macs<=2"]],
    "rungs": [False],
    "reduction": [2, 100],
    "storage": ["deep/er/x", "sqlite:///x.db", "."],
    "target": [None, 1, 1e-9],
    "size": ["params"],
    "warmup": [1],
    "seed": [2**31 - 1],
    "quantile": [0, 1],
}


BUILT_IN = functools.cache(config_manager._load_builtin_config)
"""NNI's list of tuners, which it reads anew each time that it is asked for one."""


def a_wrong_config(rng: random.Random) -> str:
    """Return the text of a config in which one or two things are changed."""
    config = copy.deepcopy(CONFIG) | {"tuner": copy.deepcopy(rng.choice([*TUNERS[:2], *TUNERS]))}
    for _ in range(rng.choice([1, 1, 2])):
        rng.choice([change_anything, change_space, change_space, change_options, change_tuner, change_tuner])(
            config, rng
        )
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return change_text(text, rng) if rng.random() < 0.1 else text


def change_anything(config, rng):
    place = config
    while True:
        parts = [key for key, value in items(place) if isinstance(value, dict | list) and value]
        if not parts or rng.random() < 0.4:
            break
        place = place[rng.choice(parts)]
    change_part(place, rng)


def change_space(config, rng):
    names = [name for name in SPACE if isinstance(config.get("searchSpace"), dict) and name in config["searchSpace"]]
    entry = config["searchSpace"][rng.choice(names[-3:])] if names else None
    if not isinstance(entry, dict):
        return
    if rng.random() < 0.7:
        entry["_type"] = rng.choice(TYPES)
    if rng.random() < 0.6:
        low, high = sorted(round(rng.random(), rng.randrange(1, 8)) for _ in range(2))
        entry["_value"] = [low, high, round(rng.random() ** 4, 6)][: 3 if str(entry.get("_type"))[0] == "q" else 2]
        return
    numbers = [0, 0.1, 0.5, 0.9, 1, 1.5, -0.5, 1e-7, 0.125, 0.9999999, *VALUES]
    entry["_value"] = [rng.choice(numbers) for _ in range(rng.randrange(5))]


def change_options(config, rng):
    wrong = f"{rng.choice(OPTIONS)} {rng.choice(WORDS)}"
    words = [wrong if rng.random() < 0.4 else rng.choice(RIGHT_WORDS)]
    config["trialCommand"] = " ".join([str(config.get("trialCommand")), *words])


def change_tuner(config, rng):
    part = config.get(rng.choice(["tuner", "tuner", "assessor"]))
    if not isinstance(part, dict) or not isinstance(part.get("classArgs"), dict):
        return
    right = [name for name in part["classArgs"] if name in RIGHT_ARGUMENTS]
    if right and rng.random() < 0.6:
        name = rng.choice(right)
        part["classArgs"][name] = rng.choice(RIGHT_ARGUMENTS[name])
        return
    change_part(part["classArgs"], rng)


def change_part(place, rng):
    if not place:
        return
    key = rng.choice([key for key, _ in items(place)])
    kind = rng.random()
    if kind < 0.7:
        place[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind < 0.8:
        del place[key]
    elif isinstance(place, dict):
        name = str(
            rng.choice([f"{key}x", str(key)[1:], str(key).upper(), f"_{key}", "searchSpaceFile", "advisor", "n\nn"])
        )
        place[name] = place.pop(key) if kind < 0.9 else copy.deepcopy(rng.choice(VALUES))
    else:
        place.insert(0, rng.choice(VALUES))


def items(place):
    return list(place.items()) if isinstance(place, dict) else list(enumerate(place))


def change_text(text, rng):
    at = rng.randrange(len(text))
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}, *a{i}, *a{i}]\n" for i in range(20))
    return rng.choice(
        [
            text[:at],
            text[:at] + rng.choice("\t\n:[]{}\"'&*!|>%@`\x01\x85") + text[at:],
            text[:at] + text[at + 1 :],
            text + text,
            text + bomb,
            text + "x: " + "[" * 5000,
            text + "x: " + "{a: " * 2000,
            text + "x: &x [*x]\n",
            text + "x: !!python/object:os.system y\n",
            f"- {at}\n",
            "",
            "# " + "x" * 2**20 + "\n" + text,
        ]
    )


@pytest.fixture(scope="module")
def digits():
    """The built-in task with its groups and what a search would learn of it, made once."""
    import nni.experiment.config  # noqa: F401  (the time that imports take is none of a check)
    import optuna  # noqa: F401

    from autoprune.prune.size_model import size_model

    task = load_task("digits")
    model = task.build()
    found = find.find_groups(model, task.example_input, task.keep)
    dense = {"accuracy": 0.9, "params": 1e5, "macs": 1e6, "bytes": 4e5, "latency_ms": 1.0}
    prepared = Prepared(dense=dense, sizes=size_model(model, task.example_input, found, 8), sensitivity={}, first=[])
    return replace(task, data=lambda: None), found, prepared


@pytest.fixture
def light(digits, tmp_path, monkeypatch):
    """Let the checks find a task that was made before, and try NNI's tuners in this process."""
    task, found, _ = digits
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", ".")
    monkeypatch.setattr(setup, "load_task", lambda name: task if name == "digits" else load_task(name))
    monkeypatch.setattr(find, "find_groups", lambda *_: found)
    monkeypatch.setattr(fit, "check_data", lambda *_: [])  # there is none

    def try_here(kind, section, label, space):
        try_algorithm.make(kind, section_of(section), space)

    monkeypatch.setattr(preflight, "_try", try_here)
    monkeypatch.setattr(config_manager, "_load_builtin_config", BUILT_IN)


def checked():
    """Return the config in this folder, or why it was refused, and the seconds of CPU that the check took."""
    began = time.thread_time()
    try:
        config = preflight.load_config("config.yaml")
        preflight.check_and_complete(config)
    except UserError as error:
        return error, time.thread_time() - began
    return config, time.thread_time() - began


def section_of(part):
    names = {"name": "name", "class_name": "className", "code_directory": "codeDirectory", "class_args": "classArgs"}
    return {right: getattr(part, name, None) for name, right in names.items()}


def use(config, prepared):
    """Make what a config names, and ask its tuner for a first candidate."""
    settings = TrialCommand.parse(config.trial_command)
    assert settings is None or TrialCommand.from_words(settings.to_words()[2:]) == settings
    if settings is None:
        return
    config.json()
    if config.assessor is not None:
        algorithms.create(section_of(config.assessor), "assessor")
    tuner = algorithms.create(section_of(config.tuner), "tuner")
    tuner.update_search_space(config.search_space)
    if hasattr(tuner, "prepare"):
        tuner.prepare([prepared])
    Candidate.from_parameters(tuner.generate_parameters(0))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_broken_config_is_refused_in_one_line_within_a_second_or_can_be_used(
    digits, light, tmp_path, monkeypatch, batch
):
    refused = 0
    for case in range(batch, CASES, BATCHES):
        text = a_wrong_config(random.Random(case))
        folder = tmp_path / str(case)
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("config.yaml").write_text(text, encoding="utf-8")
        try:
            config, seconds = checked()
        except BaseException as error:
            pytest.fail(f"case {case}: {type(error).__name__}: {error}"[:500])
        if seconds >= 1:  # the first to need a library pays for its import, or this process was interrupted
            config, seconds = checked()
        assert seconds < 1, f"case {case}"
        if isinstance(config, UserError):
            assert str(config).strip() and str(config).isprintable(), f"case {case}"
            refused += 1
            continue
        try:
            use(config, digits[2])
        except BaseException as error:
            pytest.fail(f"case {case} was accepted, and then: {type(error).__name__}: {error}"[:500])
    assert 0.5 * CASES / BATCHES < refused < 0.95 * CASES / BATCHES  # both happen
