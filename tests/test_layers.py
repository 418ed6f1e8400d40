"""Rooms depend downwards by strings too: a module named in one is a dependency that import-linter does not see."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
KNOWN = {"base/fingerprint.py"}  # it says of which own modules the code counts, not only the version
MODULE = re.compile(r"autoprune\.(\w+)[\w.]*(:\w+)?")


def rooms_by_rank():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {room: rank for rank, layer in enumerate(layers) for room in layer.split(" | ")}


def test_no_module_names_one_of_a_room_above():
    ranks, upwards = rooms_by_rank(), []
    for file in (ROOT / "autoprune").rglob("*.py"):
        place = file.relative_to(ROOT / "autoprune")
        if place.as_posix() in KNOWN:
            continue
        room = place.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = MODULE.fullmatch(node.value)
                if named and ranks.get(named[1], 99) < ranks.get(room, -1):
                    upwards.append(f"{place}:{node.lineno} {node.value}")
    assert upwards == []
