"""The two errors that AutoPrune raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Its text is one line that says what is wrong and how to mend it; the command line exits with 2."""


class TrialFailure(Exception):
    """A candidate that cannot be carried through (a NaN loss, an emptied layer). Its text is the recorded reason."""


def unknown(what: str, name: object, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not in a registry, with the near matches, or all names if none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known) or known
    return UserError(f"unknown {what} {name!r}: use {', '.join(near)}")
