"""A hash of what a value is, the same in every process: what is equal in content and in code has the same.

Tensors and arrays count by their content; functions and classes by their bytecode, and by what it refers to: defaults,
closures, globals; what a library defines by its name and the library's version; any other object by its class and the
state that pickling would keep. Nothing is ever unpickled, and comments and line numbers do not count. Of a dataclass
only the fields that differ from their defaults count, so that a new field with a default renames nothing.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset
from torch.utils.hooks import RemovableHandle

from autoprune.base import streams

BYTES, FEWEST, MOST = 128 * 2**20, 256, 20_000
"""Of a data set that is not a ``TensorDataset``: as many examples are read as fit in so many bytes, within limits."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_ABOUT_A_CLASS = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate_func__"}
_ABOUT_A_CLASS |= {"__firstlineno__", "__static_attributes__", "_abc_impl", "__dataclass_fields__", "__parameters__"}
_OWN_MODELS = ("autoprune.task.models", "autoprune.task.builtin")


def fingerprint(value: Any) -> str:
    """Return 64 hex digits that name ``value`` by its content."""
    return _Reader().read(value).hex()


def fingerprint_data(data: Dataset | DataLoader) -> str:
    """Return 64 hex digits that name a data set by its content.

    A ``TensorDataset`` is read whole. Of any other its class, its state, its length and its examples count: all of
    them where they are few or small (:data:`BYTES`), else a sample, the same each time; and the size and the
    modification time of each file that its state names. Random augmentations see the same random numbers each time.
    Of a loader its data set and how it makes batches of it count; of a stream its class, its first examples and, with
    the files that it names, its state, but for what reading it changes.
    """
    if type(data) is TensorDataset:
        return fingerprint(data.tensors)
    if isinstance(data, DataLoader):
        order = _ordered(data.sampler if data.batch_sampler is None else data.batch_sampler)
        return fingerprint([fingerprint_data(data.dataset), data.batch_size, data.drop_last, data.collate_fn, order])
    if isinstance(data, IterableDataset):
        with streams.fixed():
            before, stream = _state(data), _copied(data)
            read = list(islice(iter(stream), FEWEST))
            after = _state(stream)
            lasting = {name: own for name, own in before.items() if after.get(name) == own}
            return fingerprint([type(data), read, lasting])
    with streams.fixed():
        reader = _Reader(files=True)
        examples: Any = data  # PyTorch's Dataset does not say that it has a length
        state, count = reader.read(data), len(examples)
        first = sum(getattr(leaf, "nbytes", 8) for leaf in tree_leaves(data[0])) if count else 0
        most = max(FEWEST, min(MOST, BYTES // max(1, first)))
        chosen: Iterable[int] = torch.randperm(count)[:most].tolist() if count > most else range(count)
        return fingerprint([state, count, [_Reader().read(data[i]) for i in chosen]])


def _state(stream: IterableDataset) -> dict[str, bytes]:
    """Return a stream's attributes, but for iterators, open files among them: these say how far it was read."""
    kept = {name: value for name, value in sorted(vars(stream).items()) if not isinstance(value, Iterator)}
    return {name: _Reader(files=True).read(value) for name, value in kept.items()}


def _copied(stream: IterableDataset) -> IterableDataset:
    """Return a stream to read in place of the user's own, which may count what was read of it."""
    try:
        return copy.deepcopy(stream)
    except Exception:  # of an open file, say
        return copy.copy(stream)


def _ordered(sampler: Any) -> list[Any]:
    """Return a sampler's class and settings, without the data and the state of its generator."""
    settings = {
        name: _ordered(value) if isinstance(value, Sampler) else value
        for name, value in getattr(sampler, "__dict__", {}).items()
        if not isinstance(value, Dataset | torch.Generator)
    }
    return [type(sampler), settings]


class _Reader:
    """Reads values once each; the hash of an object is made of its parts' hashes.

    Args:
        files: whether size and modification time of each file that a text names count.
    """

    def __init__(self, files: bool = False) -> None:
        self._files = files
        self._known: dict[int, tuple[Any, bytes]] = {}

    def read(self, value: Any) -> bytes:
        """Return the hash of ``value``."""
        if type(value) in _PLAIN:
            return _hash(type(value).__name__, repr(value), self._file(value) if type(value) is str else "")
        if id(value) not in self._known:
            self._known[id(value)] = value, b"a cycle"  # holds the value too: its id must not be given away
            self._known[id(value)] = value, self._parts(value)
        return self._known[id(value)][1]

    def _parts(self, value: Any) -> bytes:
        if isinstance(value, Tensor):
            trained = isinstance(value, nn.Parameter) and value.requires_grad
            return _hash("tensor", str(value.dtype), str(tuple(value.shape)), str(trained), _content(value))
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return _hash("array", str(value.dtype), str(value.shape), np.ascontiguousarray(value).view(np.uint8).data)
        if type(value) in (list, tuple):
            return _hash(type(value).__name__, *map(self.read, value))
        if type(value) is dict:
            return _hash("dict", *(self.read(part) for pair in value.items() for part in pair))
        if isinstance(value, set | frozenset):
            return _hash("set", *sorted(map(self.read, value)))
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, ModuleType):
            return _hash("module", _library(value.__name__) or value.__name__)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType | BuiltinFunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return _hash("method", self.read(value.__func__), self.read(value.__self__))
        if isinstance(value, property):
            return _hash("property", *map(self.read, (value.fget, value.fset, value.fdel)))
        if isinstance(value, staticmethod | classmethod):
            return _hash(type(value).__name__, self.read(value.__func__))
        if isinstance(value, torch.jit.ScriptModule):
            code = [(name, getattr(part, "code", "")) for name, part in value.named_modules()]
            return _hash("script", self.read(code), self.read(dict(value.state_dict())))
        if isinstance(value, os.PathLike):
            return _hash("path", os.fspath(value), self._file(os.fspath(value)))
        if isinstance(value, RemovableHandle):
            return _hash("handle")  # it only knows the number of its hook in this process
        if is_dataclass(value):
            return _hash("dataclass", self.read(type(value)), self._told(value))
        return self._object(value)

    def _object(self, value: Any) -> bytes:
        """Read an object's class and its state, as pickling takes them apart."""
        try:
            reduced = value.__reduce_ex__(2)
        except Exception:  # what cannot be pickled says so in many ways
            return _hash("opaque", self.read(type(value)), re.sub(r"0x[0-9a-fA-F]+", "", repr(value)))
        if isinstance(reduced, str):
            return _hash("global", reduced, self.read(getattr(value, "__wrapped__", None)))
        parts = [list(part) if i > 2 and part is not None else part for i, part in enumerate(reduced)]
        if isinstance(value, nn.Module) and len(parts) > 2 and isinstance(parts[2], dict):
            parts[2] = {name: _without_numbers(name, part) for name, part in parts[2].items()}
        return _hash("object", *map(self.read, parts))

    def _told(self, value: Any) -> bytes:
        """Read the fields that differ from their defaults."""
        state = dict(getattr(value, "__dict__", None) or {f.name: getattr(value, f.name) for f in fields(value)})
        for field in fields(value):
            default = field.default if field.default_factory is MISSING else field.default_factory()
            if default is not MISSING and field.name in state and self.read(state[field.name]) == self.read(default):
                del state[field.name]
        return self._named(state)

    def _class(self, cls: type) -> bytes:
        library = _library(cls.__module__)
        if library:
            return _hash("class", library, cls.__module__, cls.__qualname__)
        body = {name: part for name, part in vars(cls).items() if name not in _ABOUT_A_CLASS}
        return _hash("class", cls.__qualname__, *map(self.read, cls.__bases__), self._named(body))

    def _function(self, function: FunctionType | BuiltinFunctionType) -> bytes:
        library = _library(function.__module__ or "builtins")
        if library or not isinstance(function, FunctionType):
            return _hash("function", library or "", function.__module__ or "", function.__qualname__)
        cells = [_cell(cell) for cell in function.__closure__ or ()]
        given = [function.__defaults__, function.__kwdefaults__, cells, function.__dict__]
        used = self._used(_names(function.__code__), function.__globals__, ())
        return _hash("function", function.__qualname__, self.read(function.__code__), *map(self.read, given), used)

    def _used(self, names: Iterable[str], namespace: Mapping[str, Any], within: tuple[ModuleType, ...]) -> bytes:
        """Read what ``names`` mean in ``namespace``; of a module of the user's own, what they mean there."""
        found = []
        for name in sorted(set(names) & namespace.keys()):
            value = namespace[name]
            if isinstance(value, ModuleType) and not _library(value.__name__) and value not in within:
                found.append(_hash(name, self._used(names, vars(value), (*within, value))))
            else:
                found.append(_hash(name, self.read(value)))
        return _hash("used", *found)

    def _code(self, code: CodeType) -> bytes:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        parts = (code.co_code, code.co_exceptiontable, counts, names, code.co_consts)
        return _hash("code", *map(self.read, parts))

    def _named(self, parts: Mapping[str, Any]) -> bytes:
        return _hash("named", *(_hash(str(name), self.read(parts[name])) for name in sorted(parts, key=str)))

    def _file(self, path: str) -> str:
        if not self._files or os.sep not in path:
            return ""
        try:
            found = Path(path).stat()
        except (OSError, ValueError):  # it is no path
            return ""
        return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else ""


def _hash(*parts: str | bytes | memoryview) -> bytes:
    """Return the hash of some parts, of which none can pass for two."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(str(memoryview(content).nbytes).encode() + b":")
        whole.update(content)
    return whole.digest()


def _content(tensor: Tensor) -> memoryview:
    tensor = tensor.detach()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _without_numbers(name: str, part: Any) -> Any:
    """Return a module's hooks without their keys, which count all hooks of the process."""
    return list(part.values()) if "_hooks" in name and isinstance(part, dict) else part


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code: CodeType) -> set[str]:
    """Return the names of globals and attributes that some code refers to, functions within it included."""
    return set(code.co_names).union(*(_names(part) for part in code.co_consts if isinstance(part, CodeType)))


@functools.cache
def _library(module: str) -> str | None:
    """Return the name and the version of the library that a module belongs to; None for a module of the user's own.

    What a user may build on in AutoPrune itself, its models and tasks, counts as the user's own.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if top == "autoprune":
        return None if module.startswith(_OWN_MODELS) else "autoprune"
    found = sys.modules.get(top)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", ())]
    if not any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places if place):
        return None
    try:
        return f"{top} {getattr(found, '__version__', None) or metadata.version(top)}"
    except metadata.PackageNotFoundError:
        return top
