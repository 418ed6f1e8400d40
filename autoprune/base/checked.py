"""The kinds of values that users write, checked by pydantic, and its findings in one line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from autoprune.errors import UserError, short

T = TypeVar("T")

STRICT = ConfigDict(strict=True, extra="forbid")
"""Of every model: no number is read from a text or a boolean, and no name is left over."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("must be text, without characters that no file has")
    return value


Text = Annotated[str, AfterValidator(_text)]
"""Also a path: neither empty nor with characters in it that no text or path has."""
Whole = Annotated[int, Field(ge=0, le=10**9)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Of every random generator, with room for what is added to it for each trial (numpy's end at 2 ** 32)."""
Share = Annotated[float, Field(ge=0, le=1)]
Batch = Annotated[int, Field(ge=1, le=65_536)]

_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must map names to values",
    "model_type": "must map names to values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
}


def check(name: str, value: Any, kind: Any) -> None:
    """Check one value.

    Args:
        name: what the message calls it.
        kind: a type, as :class:`pydantic.TypeAdapter` takes it.

    Raises:
        UserError: it is of another kind.
    """
    with plainly(lambda _: name):
        TypeAdapter(kind).validate_python(value, strict=True)


def make(kind: Callable[..., T], **values: Any) -> T:
    """Return a dataclass of pydantic's with these values.

    Raises:
        UserError: a value of another kind, or an unknown name, with the near matches.
    """
    with plainly(lambda place: str(place[-1]), list(signature(kind).parameters)):
        return kind(**values)


def allowed_by(check: Callable[[Any], object]) -> PlainValidator:
    """Return the validator of a kind that a function checks, which raises :class:`UserError` itself."""

    def validate(value: Any) -> Any:
        check(value)
        return value

    return PlainValidator(validate)


@contextmanager
def plainly(name: Callable[[Sequence[str | int]], str], known: Sequence[str] = (), where: str = "") -> Iterator[None]:
    """Turn pydantic's error into one line.

    Args:
        name: gives what a message calls the place of a value.
        known: names that an unknown one is compared with.
        where: what the line begins with.

    Raises:
        UserError: in the error's place.
    """
    try:
        yield
    except ValidationError as error:
        raise UserError(where + _line(error.errors(include_url=False)[0], name, known)) from None


def _line(error: ErrorDetails, name: Callable[[Sequence[str | int]], str], known: Sequence[str]) -> str:
    kind, place, context = error["type"], error["loc"], error.get("ctx", {})
    if kind in ("missing", "missing_argument"):
        return f"{name(place)} is missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(str(place[-1]), known)
        return f"unknown {name(place)}: {f'did you mean {near[0]}?' if near else 'known are ' + ', '.join(known)}"
    if kind == "literal_error":
        what = f"must be {context['expected']}"
    else:
        bounds = {key: f"{each:,g}" if isinstance(each, float) else each for key, each in context.items()}
        bounds |= {key: f"{each:,}" for key, each in context.items() if isinstance(each, int)}
        fallback = error["msg"].replace("Input should be", "must be").replace("{", "(").replace("}", ")")
        what = _WORDS.get(kind, fallback).format(**bounds)
    return f"{name(place)} {what}" + ("" if what.startswith("must not") else f", not {short(error['input'])}")
