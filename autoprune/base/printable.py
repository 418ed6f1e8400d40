"""Text that came from files, as it may be printed: it can name things, but do nothing to the terminal."""

from __future__ import annotations

import re

# All control characters but tab and newline, and those that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    """Return ``str(text)`` without control characters: of an escape sequence, harmless letters are left."""
    return _CONTROLS.sub("", str(text))
