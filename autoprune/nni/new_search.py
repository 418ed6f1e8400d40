"""A search's files for a start: a config, a search space, and a task file for a model that has no task yet."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from autoprune.base.files import write_text
from autoprune.base.places import check_folder
from autoprune.errors import UserError
from autoprune.nni import preflight
from autoprune.nni.config import config_from, load_config
from autoprune.results.pareto import DEFAULT_OBJECTIVES, check_objectives

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig
    from torch import nn

    from autoprune.task.task import Task

SPACE_FILE, TASK_FILE = "search_space.yaml", "task.py"
TRIALS, DURATION = 60, "30m"
"""How many trials a new search has at most, and how long it takes at most."""

BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "fashion_mnist": {"trials": 36},
    "fashion_mnist_resnet20": {"trials": 36},
    "imdb": {"trials": 26, "options": " --no-baselines --seeds 1"},
}
"""What else suits the searches of built-in tasks, as their examples in ``experiments/`` have it."""

CONFIG = """\
# Prune {reference}: `autoprune run {file}`, or by hand `nnictl create --config {file}`.
# docs/config.md says what each field means. Written by `autoprune init`; edit it as you like.
experimentName: {name}
searchSpaceFile: {space}
trialCommand: {command}
trialCodeDirectory: {code}
trialConcurrency: 2
maxTrialNumber: {trials}   # the dense model's and the baselines' among them
maxExperimentDuration: {duration}

# Optuna's multi-objective TPE: a whole front. Limits go beside the objectives: constraints: ["drop<=1%", "macs<=20M"].
tuner:
  className: autoprune.search.OptunaTuner
  codeDirectory: .
  classArgs: {{objectives: {objectives}, sampler: tpe, seed: 0}}

trainingService:
  platform: local
"""

TEMPLATE = '''\
"""A task: what is pruned, its data, and how it is trained.

Fill in the lines marked FILL IN. The rest is a start, to be changed as you like: docs/tasks.md has all that there is.
"""
{imports}
import autoprune
{model}

def data() -> autoprune.Splits:
    """Return three data sets of pairs (input, label), or three DataLoaders."""
    raise autoprune.UserError("{file}: fill in its data")  # FILL IN: return autoprune.Splits(train, validation, test)


task = autoprune.Task(
    name="{name}",
    model={build},
    data=data,
    example=torch.zeros({shape}),{shape_mark}
    training=autoprune.Recipe(steps=2000, batch_size=128, learning_rate=0.05),
    recovery=autoprune.Recipe(steps=300, batch_size=128, learning_rate=0.02, distillation=0.9),
)
'''

MODEL = '''

def model() -> nn.Module:
    """Return the network, not trained yet; a trained one goes to the task below as it is, without a function."""
    raise autoprune.UserError("{file}: fill in its model")  # FILL IN: return MyNetwork()

'''


@dataclass(frozen=True)
class Wanted:
    """What a new search is to be.

    Args:
        reference: a built-in task, or ``FILE.py:NAME`` or ``MODULE:NAME`` of a task or of what builds a model.
        folder: where the files go.
        objectives: what is searched for; the task's metric and MACs if None.
        shape: of a model's example input; a task has its own.
        trials: at most; what suits the task if None.
        duration: at most, such as ``30m``.
        tie: kinds of groups that have one sparsity together.
        width: whether channels under norms may go.
    """

    reference: str
    folder: Path
    objectives: Sequence[str] | None = None
    shape: str = "1,3,224,224"
    trials: int | None = None
    duration: str = DURATION
    tie: Sequence[str] = ()
    width: bool = False


def write_template(folder: Path) -> Path:
    """Write a task file to be filled in, and return it.

    Raises:
        UserError: it cannot be written, or is there already.
    """
    file = folder / TASK_FILE
    imports = "\nimport torch\nfrom torch import nn\n"
    model, mark = MODEL.format(file=file.name), "  # FILL IN: one input, as a batch of 1"
    text = TEMPLATE.format(
        imports=imports, model=model, file=file.name, name="mine", build="model", shape="1, 3, 32, 32", shape_mark=mark
    )
    _write({file: text})
    return file


def write_search(wanted: Wanted) -> tuple[list[Path], bool]:
    """Write a search's config and its search space; of a model that is no task yet, a task file to be filled in too.

    The search is checked as ``autoprune run`` checks it.

    Returns:
        The files, the config first, and whether the search is ready to run.

    Raises:
        UserError: there is no such task or model, a file is there already, or the search that was written does not
            pass the check: then it says that the files are there.
    """
    from autoprune.task.find import load_task_or_model
    from autoprune.task.task import Task
    from autoprune.trial.space import space_of

    found, example = load_task_or_model(wanted.reference, wanted.shape)
    folder, place = wanted.folder, wanted.reference.partition(":")[0]
    objectives = _objectives(found, wanted.objectives)
    code = Path(place).parent if place.endswith(".py") else Path.cwd() if ":" in wanted.reference else folder
    files: dict[Path, str] = {}
    if isinstance(found, Task):
        name, task = _plain(found.name), wanted.reference
        if place.endswith(".py"):
            task = task.replace(place, Path(place).name, 1)
    else:
        name = _plain(wanted.reference.partition(":")[2])
        task, file = f"{name}_task.py", folder / f"{name}_task.py"
        files[file] = _task_text(wanted, found, name, file, code)
        code = folder
    config = folder / f"{name}.yaml"
    space = space_of(task, found, example, tie=wanted.tie, width=wanted.width)
    text = _config_text(wanted, name, task, os.path.relpath(code, folder), config.name, objectives)
    _write({config: text} | files | {folder / SPACE_FILE: space.text})
    written = [config, *files, folder / SPACE_FILE]
    if files:
        return written, False
    try:
        preflight.check_and_complete(load_config(config))
    except UserError as error:
        raise UserError(f"{', '.join(map(str, written))} are written, but the search cannot run yet: {error}") from None
    return written, True


def find_config(given: str) -> ExperimentConfig:
    """Return the config in a file, or the config of a new search, where a task is named.

    Raises:
        UserError: there is no such file or task, or it is wrong.
    """
    place = given.partition(":")[0]
    if not place.endswith(".py") and (Path(given).exists() or re.search(r"\.(ya?ml|json)$|/", given)):
        return load_config(given)
    from autoprune.task.find import load_task
    from autoprune.trial.space import space_of

    task = load_task(given)
    wanted, objectives = Wanted(given, Path()), _objectives(task, None)
    content = yaml.safe_load(_config_text(wanted, _plain(task.name), given, ".", "config", objectives))
    del content["searchSpaceFile"]
    content["searchSpace"] = space_of(given, task, task.example).space
    return config_from(content, Path(given).name)


def _objectives(found: Task | nn.Module, named: Sequence[str] | None) -> tuple[str, ...]:
    from autoprune.task.task import Task
    from autoprune.trial.setup import check_objectives as check_of_task

    if named is None:
        return (found.metric.name if isinstance(found, Task) else DEFAULT_OBJECTIVES[0], *DEFAULT_OBJECTIVES[1:])
    check_objectives(named)
    if isinstance(found, Task):
        check_of_task(found, named)
    return tuple(named)


def _config_text(wanted: Wanted, name: str, task: str, code: str, file: str, objectives: Sequence[str]) -> str:
    suits = BUILT_IN.get(task, {})
    options = suits.get("options", "") + (" --width" if wanted.width else "")
    return CONFIG.format(
        reference=name,
        file=file,
        name=_as_yaml(name),
        space=SPACE_FILE,
        command=_as_yaml(f"autoprune trial {shlex.quote(task)}{options}"),
        code=_as_yaml(code),
        trials=wanted.trials or suits.get("trials", TRIALS),
        duration=_as_yaml(wanted.duration),
        objectives=_as_yaml(list(objectives)),
    )


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).splitlines()[0]


def _task_text(wanted: Wanted, found: nn.Module, name: str, file: Path, code: Path) -> str:
    """Return the task file of a model: it imports the model, and its data are to be filled in."""
    place, _, attribute = wanted.reference.partition(":")
    module = Path(place).stem if place.endswith(".py") else place
    if place == "timm":  # which has its models there, by the names without tags
        module, attribute = "timm.models", attribute.partition(".")[0]
    imports = "\nimport torch\n"
    is_installed = not place.endswith(".py") and not any(code.glob(f"{place.partition('.')[0]}*"))
    if code.resolve() != file.parent.resolve() and not is_installed:
        between = os.path.relpath(code, file.parent)
        imports = (
            "\nimport sys\nfrom pathlib import Path\n\nimport torch\n\n"
            f"sys.path.append(str(Path(__file__).resolve().parent / {between!r}))  # where {module} is\n"
        )
    model = f"from {module} import {attribute}\n"
    shape = ", ".join(wanted.shape.split(","))
    return TEMPLATE.format(
        imports=imports, model=model, file=file.name, name=name, build=attribute, shape=shape, shape_mark=""
    )


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "mine"


def _write(texts: Mapping[Path, str]) -> None:
    """Write files, all or none.

    Raises:
        UserError: one of them is there already, or cannot be written.
    """
    for file in texts:
        if file.exists() or file.is_symlink():
            raise UserError(f"{file} is there already: name another folder with -o, or move it away")
        check_folder(file.parent)
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
