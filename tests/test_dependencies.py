"""What a user installs holds all that the package asks for."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import autoprune
from autoprune.base.machine import PACKAGES

PACKAGE = Path(autoprune.__file__).parent


def required(*extras):
    """Return the packages that pyproject.toml asks for, with these extras."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    lines = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in itertools.chain(*lines)}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported():
    """Return each module that AutoPrune imports from elsewhere, and a file that does."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            found |= {name.partition(".")[0]: file.name for name in names}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | {"autoprune"}}


def test_every_import_is_of_a_package_that_is_asked_for():
    known = required("rl", "dashboard", "qat", "text", "timm", "lightning", "ultralytics", "openvino", "log")
    known |= {"mlflow"} & {each.removesuffix("-skinny") for each in known}  # the light one is imported by the same name
    distributions = packages_distributions()
    missing = {
        name: file
        for name, file in imported().items()
        if not known & {normal(each) for each in distributions.get(name, [name])}
    }
    assert not missing


def test_every_package_whose_version_is_noted_is_installed_with_autoprune():
    assert {name for name in PACKAGES if name != "autoprune"} <= required()


WITHOUT = (
    "nni",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "transformers",
    "timm",
    "lightning",
    "stable_baselines3",
    "torchao",
)
ALONE = """
import sys
from dataclasses import replace

for name in sys.argv[1:]:
    sys.modules[name] = None

import autoprune
from autoprune.task import load_task

digits = load_task("digits")
short = {"training": replace(digits.training, steps=5), "recovery": replace(digits.recovery, steps=5)}
found = autoprune.run_search(replace(digits, **short), trials=1, baselines=False, warm_start=False)
print([trial.reason for trial in found.trials])
"""


def test_a_search_in_python_needs_neither_nni_nor_what_only_exports_need(tmp_path):
    environment = os.environ | {"AUTOPRUNE_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", ALONE, *WITHOUT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines()[-1:] == ["[None]"], done.stderr
