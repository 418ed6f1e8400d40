"""The search loop: what runs before the tuner's candidates, and then those, one trial after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoprune.results.prepared import FILE, Prepared
from autoprune.search.tuners.base import Metrics, NoMoreCandidates, Tuner


def search(
    tuner: Tuner,
    run: Callable[[Mapping[str, Any]], Metrics | None],
    numbers: Iterable[int],
    first: Sequence[Mapping[str, Any]] = (),
    folders: Callable[[], Iterable[Path]] = tuple,
) -> None:
    """Run the first trials, prepare the tuner by what they wrote down, and then run what it proposes.

    It ends with the numbers, or when the tuner has nothing more to propose. What ``run`` raises ends it too, an
    interrupt among it: the tuner is not told of that trial.

    Args:
        tuner: has its search space. It is never told of the first trials.
        run: runs one trial; None if it failed.
        numbers: of the tuner's trials.
        first: the parameters of the trials that come first (see :func:`autoprune.results.baselines.first`).
        folders: returns the folders of the trials that have ended.
    """
    for parameters in first:
        run(parameters)
    prepare_tuner(tuner, folders())
    for number in numbers:
        try:
            parameters = tuner.ask(number)
        except NoMoreCandidates:
            return
        tuner.tell(number, parameters, run(parameters))


def prepare_tuner(tuner: Any, folders: Iterable[Path]) -> list[Prepared]:
    """Give the tuner what trials wrote down about the network, if any did, and return it.

    Args:
        tuner: ours, or one of NNI's, which have no use for it.
        folders: of the trials, in the order in which they ran.

    Raises:
        UserError: a file is damaged, or the tuner cannot search this network.
    """
    found = [Prepared.read(file) for folder in folders if (file := folder / FILE).is_file()]
    if found and hasattr(tuner, "prepare"):
        tuner.prepare(found)
    return found
