"""What a user installs holds all that the package asks for."""

import ast
import itertools
import re
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
    known = required("rl", "dashboard", "qat", "text", "timm", "lightning", "ultralytics")
    distributions = packages_distributions()
    missing = {
        name: file
        for name, file in imported().items()
        if not known & {normal(each) for each in distributions.get(name, [name])}
    }
    assert not missing


def test_every_package_whose_version_is_noted_is_installed_with_autoprune():
    assert {name for name in PACKAGES if name != "autoprune"} <= required()
