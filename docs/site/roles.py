"""Sphinx's roles in docstrings, such as :class:`~autoprune.Task`, as the site's own links or as code."""

import re

import griffe

ROLE = re.compile(r":\w+:`~?([\w.]+)`")


def shown(role: re.Match) -> str:
    """Return a name of autoprune itself as a link, another one as code."""
    name = role[1].rpartition(".")[2]
    return f"[`{name}`][{role[1]}]" if re.fullmatch(r"autoprune\.([A-Z]|run_|from_)\w+", role[1]) else f"`{name}`"


class Roles(griffe.Extension):
    """Rewrites the roles of every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_) -> None:
        """Rewrite one."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(shown, obj.docstring.value)
