"""What a probe of single groups says of groups that are tied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from autoprune.results.size_model import SizeModel

Curve = Sequence[tuple[float, float]]
"""``(sparsity, value)`` pairs, the first of sparsity 0."""


def tied_curves(curves: Mapping[str, Curve], sizes: SizeModel, names: Iterable[str]) -> dict[str, Curve]:
    """Return a curve for each of the names, groups' or ties', that has any.

    That of a tie changes by as much as the curves of its groups together: each was probed alone, and the loss is taken
    to be additive, as in :func:`autoprune.search.warm_start.predicted_front`. It ends where the first of them ends.
    """
    found: dict[str, Curve] = {}
    for name in names:
        members = [sorted(curves[member]) for member in sizes.members(name) if curves.get(member)]
        if len(members) == 1:
            found[name] = members[0]
        elif members:
            end = min(curve[-1][0] for curve in members)
            at = sorted({x for curve in members for x, _ in curve if x <= end})
            total = np.full(len(at), members[0][0][1])
            for curve in members:
                total += np.interp(at, [x for x, _ in curve], [y for _, y in curve]) - curve[0][1]
            found[name] = list(zip(at, total.tolist(), strict=True))
    return found
