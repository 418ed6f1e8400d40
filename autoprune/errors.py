"""The two errors that AutoPrune raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

LONGEST = 1000
"""Characters of an error's text: more is no longer read."""


class UserError(Exception):
    """Bad input. Its text is one line that says what is wrong and how to mend it; the command line exits with 2.

    What the input brought along, such as line breaks and escape sequences, becomes blanks.
    """

    def __init__(self, text: str) -> None:
        line = "".join(each if each.isprintable() else " " for each in text[: LONGEST + 1])
        super().__init__(line if len(line) <= LONGEST else line[: LONGEST - 4] + " ...")


class TrialFailure(Exception):
    """A candidate that cannot be carried through (a NaN loss, an emptied layer). Its text is the recorded reason."""


def in_a_line(error: BaseException) -> str:
    """Return the kind and the text of somebody else's error on one line, of 300 characters at most."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def unknown(what: str, name: object, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not in a registry, with the near matches, or all names if none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known) if isinstance(name, str) else []
    return UserError(f"unknown {what} {short(name)}: use {', '.join(near or known)}")


def short(value: Any) -> str:
    """Return a value as it is written in Python, cut off after 60 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        text = f"a {type(value).__name__} that is too long to write down"
    return text if len(text) <= 60 else text[:56] + " ..."
