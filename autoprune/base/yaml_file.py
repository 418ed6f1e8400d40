"""Reading YAML that anybody may have written: plain data or one clear line, within a second."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from autoprune.errors import UserError, short

LARGEST = 2**20
"""Bytes of a file."""
DEEPEST = 50
"""Brackets within brackets."""
MOST = 30_000
"""Values in a file, those counted anew that an alias repeats."""


def load_yaml(path: str | Path) -> Any:
    """Read a YAML file of texts, numbers, booleans, lists and mappings with texts as names, as JSON has them.

    Raises:
        UserError: the file is missing, too large or no such YAML; with line and column where there is one.
    """
    text = _read(path)
    try:
        return _load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: {where}not valid YAML: {getattr(error, 'problem', None) or error}") from None


def _read(path: str | Path) -> str:
    try:
        file = Path(path)
        if file.exists() and not file.is_file():  # reading a pipe or a device may never end
            raise UserError(f"{path}: cannot be read: {'is a directory' if file.is_dir() else 'is not a file'}")
        if file.stat().st_size > LARGEST:
            raise UserError(f"{path}: is larger than {LARGEST // 2**20} MiB: that is no config or search space")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8") from None
    except ValueError as error:  # of a path with a NUL in it
        raise UserError(f"{short(str(path))}: cannot be read: {error}") from None


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_bombs(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with bounds, without kinds that JSON lacks, and strict about names."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _error(f"brackets or indents more than {DEEPEST} deep", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        assert node is not None  # it is only of an empty document
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # PyYAML's constructors let through what int() and others raise
            raise _error(f"{short(node.value)} is no {node.tag.rpartition(':')[2]}", node.start_mark) from None
        if isinstance(value, str) and any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value):
            raise _error("a character that is not text", node.start_mark)
        return value

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise _error(f"the name {short(key.value)} must be text: put it in quotes", key.start_mark)
            if key.value in names:
                raise _error(f"{short(key.value)} is there twice", key.start_mark)
            names.add(key.value)
        return node


def _not_in_json(loader: _Loader, node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    raise _error(f"a {kind} means nothing here: put it in quotes if it is text", node.start_mark)


_Loader.add_implicit_resolver(  # as YAML 1.2 and JSON have it; YAML 1.1 takes 1e-3 for text
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+|\d*\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
)
for _kind in ("binary", "timestamp", "omap", "pairs", "set"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _not_in_json)


def _refuse_bombs(root: yaml.Node) -> None:
    """Count the values with those that aliases repeat, each node once: the file of an alias bomb is short."""
    measured: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        """Return how many values a node holds, and how deep they lie."""
        if isinstance(node, yaml.ScalarNode):
            return 1, 1
        if id(node) in open_:
            raise _error("an alias of what it is in", node.start_mark)
        if id(node) not in measured:
            open_.add(id(node))
            in_a_list = isinstance(node, yaml.SequenceNode)
            parts = node.value if in_a_list else [part for pair in node.value for part in pair]
            sizes, depths = zip((0, 0), *map(measure, parts), strict=True)
            measured[id(node)] = size, depth = 1 + sum(sizes), 1 + max(depths)
            open_.remove(id(node))
            if size > MOST or depth > DEEPEST:
                what = f"more than {MOST:,} values, or more than {DEEPEST} deep, with what aliases repeat"
                raise _error(what, node.start_mark)
        return measured[id(node)]

    measure(root)


def _error(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)
