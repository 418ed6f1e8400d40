"""What no module of the package may do: run code that came in as data."""

import ast
import re
from pathlib import Path

import pytest

import autoprune

FILES = sorted(Path(autoprune.__path__[0]).rglob("*.py"))
ALLOWED = {"prune/graph/views.py": "exec(compile(module,"}
"""A method of a model's class that runs already, compiled anew from its own source with one size left open."""

UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def calls(tree):
    """Return each call's name, dotted as written, with the call."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call, name):
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


def faults(source):
    """Return what is unsafe in a module's source, a line each."""
    found = []
    tree = ast.parse(source)
    for name, call in calls(tree):
        where = f"line {call.lineno}: {ast.unparse(call)[:60]}"
        if name == "torch.load" and keyword(call, "weights_only") != "True":
            found.append(where)
        if name in ("eval", "exec", "os.system", "os.popen") or keyword(call, "shell") == "True":
            found.append(where)
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            found.append(where)
        if name.endswith(".load") and keyword(call, "allow_pickle") == "True":
            found.append(where)
    for node in ast.walk(tree):
        imported = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if UNPICKLERS & {name.partition(".")[0] for name in imported}:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.ImportFrom) and node.module == "torch" and "load" in [n.name for n in node.names]:
            found.append(f"line {node.lineno}: torch.load under another name")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FILES[0].parent)))
def test_no_module_runs_code_that_came_in_as_data(file):
    allowed = ALLOWED.get(str(file.relative_to(FILES[0].parent)), "nothing")
    assert [fault for fault in faults(file.read_text()) if allowed not in fault] == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "from torch import load",
        "eval(text)",
        "subprocess.run(words, shell=True)",
        "yaml.load(text)",
        "import pickle",
        "from joblib import load",
        "np.load(file, allow_pickle=True)",
    ],
)
def test_the_test_sees_what_is_unsafe(line):
    assert faults(line)


def test_what_is_safe_passes():
    assert not faults("torch.load(file, weights_only=True)\nmodel.eval()\nyaml.safe_load(text)")


def test_the_tests_that_the_security_page_names_are_there():
    tests = Path(__file__).parent
    named = re.findall(r"`(\w+\.py)::(\w+)`", (tests.parent / "docs" / "security.md").read_text())
    assert len(named) >= 12
    for file, name in named:
        (found,) = tests.rglob(file)
        assert f"def {name}(" in found.read_text(), f"{file}::{name}"
