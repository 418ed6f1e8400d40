"""Groups as a person wants to read them, and how much the network minds losing each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoprune.base.tables import Table
from autoprune.prune.account import GOES_WITH
from autoprune.prune.groups import Group, Groups


def groups_table(groups: Groups, params: int, macs: int, sensitivity: Mapping[str, float] | None = None) -> Table:
    """Return a table of the prunable groups: members, channels, share of parameters and MACs.

    Args:
        params: of the whole model, for the shares.
        macs: of the whole model for one example.
        sensitivity: adds a column: the score lost when half of that group alone goes (:func:`sensitivities`).
    """
    headings = ["group", "channels", "layers", "read by", "parameters", "MACs"]
    headings += ["lost without half"] if sensitivity is not None else []
    table = Table(*headings, left=("layers", "read by"), wraps=headings)
    for group in groups:
        row = [
            group.name,
            _units(group),
            _listed(group.producers + group.followers),
            _listed(group.consumers),
            f"{group.params / params:.1%}",
            f"{group.macs / max(1, macs):.1%}",
        ]
        if sensitivity is not None:
            row.append(f"{sensitivity[group.name]:+.3f}")
        table.add_row(*row)
    return table


def inexact_lines(groups: Groups) -> list[str]:
    """Return a line for each group that is inexact."""
    why = "its norms are then taken over fewer channels, so the smaller network is not the same function"
    return [f"inexact: {group.name}: {why}" for group in groups if not group.exact]


def left_alone_lines(groups: Groups) -> list[str]:
    """Return a line for each layer or parameter that is left alone, with what goes with it, and the reason."""
    followers: dict[str, list[str]] = {}
    for name, reason in groups.left_alone.items():
        if reason.startswith(GOES_WITH):
            followers.setdefault(reason.removeprefix(GOES_WITH), []).append(name)
    lines = []
    for name, reason in groups.left_alone.items():
        if not reason.startswith(GOES_WITH):
            more = ", ".join(_listed(followers.get(name, []), most=4).split("\n"))
            lines.append(f"left alone: {name}{f' (with {more})' if more else ''}: {reason}")
    return lines


def _units(group: Group) -> str:
    """Return how many units there are and, where one is several channels, of how many channels each."""
    first = next(part for part in group.slices if part.role == "out")
    each = int((first.unit >= 0).sum()) // group.channels
    return str(group.channels) if each == 1 else f"{group.channels} x {each}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = [f"... and {len(names) - most} more"] if len(names) > most + 1 else []
    return "\n".join([*names[: most if more else None], *more])
