"""Attention that folds its heads back to the width of its input: the same forward() with that view left open.

``B, N, C = x.shape`` at the beginning and ``x.reshape(B, N, C)`` behind the heads is how most attention outside
PyTorch is written. With fewer heads the last size is another one; as ``-1`` it is what the elements give. Where the old
code ran, the new one computes the same.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

from torch import nn


def open_views(layer: nn.Module) -> None:
    """Give ``layer`` a class whose forward() leaves the width of what it folds to the elements, where it can be."""
    kind: Any = type(layer)
    layer.__class__ = _opened(kind)


@cache
def _opened(kind: Any) -> Any:
    forward = kind.forward
    if hasattr(kind, "_views_of") or getattr(forward, "__closure__", None):
        return kind
    try:
        lines, first = inspect.getsourcelines(forward)
        function = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, TypeError, SyntaxError):  # no source is there
        return kind
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        return kind
    opener = _Opener(function)
    opener.visit(function)
    if not opener.opened:
        return kind
    for argument in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]:
        argument.annotation = None
    function.returns = None
    module = ast.fix_missing_locations(ast.Module([function], []))
    ast.increment_lineno(module, first - 1)
    namespace: dict[str, Any] = {}
    exec(compile(module, inspect.getsourcefile(forward) or "<forward>", "exec"), forward.__globals__, namespace)
    same = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), same | namespace | {"_views_of": kind, "__reduce_ex__": _reduce})


def _reduce(layer: Any, protocol: int) -> tuple[Any, ...]:
    """Let a layer be copied and pickled: its class cannot be found by its name."""
    return _empty, (layer._views_of,), layer.__dict__


def _empty(kind: Any) -> nn.Module:
    opened = _opened(kind)
    return opened.__new__(opened)


class _Opener(ast.NodeTransformer):
    """Leaves the last size of a view to the elements, if it is made of the input's width."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.opened = 0
        self.widths = {
            node.targets[0].elts[-1].id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "shape"
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.targets[0].elts[-1], ast.Name)
        }

    def visit_Call(self, node: ast.Call) -> ast.AST:  # noqa: N802 (named by ast)
        self.generic_visit(node)
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in ("view", "reshape"):
            return node
        if len(node.args) < 2 or any(isinstance(size, ast.Starred) for size in node.args):
            return node
        used = {part.id for part in ast.walk(node.args[-1]) if isinstance(part, ast.Name)}
        if not used & self.widths:
            return node
        sizes = [ast.unparse(size) for size in node.args]
        self.opened += 1
        if "-1" not in sizes:
            last = "-1"
        else:  # what stands behind -1 divides the last axis
            last = " // ".join(["x.shape[-1]", *(f"({size})" for size in sizes[sizes.index("-1") + 1 : -1])])
        view = f"(lambda x: x.{node.func.attr}({', '.join(sizes[:-1])}, {last}))({ast.unparse(node.func.value)})"
        return ast.parse(view, mode="eval").body
