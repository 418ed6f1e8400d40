"""``autoprune pareto`` and ``autoprune compare``: fronts on the terminal, as data, and as pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from autoprune.base.printable import printable
from autoprune.errors import UserError
from autoprune.finalize.front import front_as_csv, front_as_json
from autoprune.nni.database import find_experiment, open_experiment
from autoprune.report.compare import comparison
from autoprune.report.table import front_table
from autoprune.report.terminal import show
from autoprune.results.experiment import Experiment
from autoprune.results.pareto import check_objectives, size_of


def show_front(
    experiment_id: str, objectives: str | None, form: Literal["table", "csv", "json"], plot: Path | None
) -> None:
    """Print an experiment's front.

    Args:
        objectives: comma-separated; the experiment's own if None.
        form: how it is printed.
        plot: a picture file to be drawn as well.
    """
    experiment = open_experiment(experiment_id)
    chosen = check_objectives(objectives.split(",")) if objectives else None
    if form == "csv":
        sys.stdout.write(printable(front_as_csv(experiment, chosen)))
    elif form == "json":
        print(front_as_json(experiment, chosen))
    else:
        show(front_table(experiment, objectives=chosen))
    if plot:
        from autoprune.report.picture import front_picture

        size = size_of(chosen or experiment.objectives, metric=experiment.metric)
        print(front_picture(experiment, plot, size), file=sys.stderr)


def show_comparison(experiment_ids: Sequence[str], plot: Path | None) -> None:
    """Print several searches side by side, and draw their fronts if ``plot`` is given.

    A damaged one is left out, and said to be.

    Raises:
        UserError: NNI does not know one of them, or all are damaged.
    """
    experiments: list[Experiment] = []
    damaged: list[UserError] = []
    for folder in [find_experiment(each) for each in experiment_ids]:
        try:
            experiments.append(open_experiment(folder.name))
        except UserError as error:
            damaged.append(error)
    if not experiments:
        raise damaged[0]
    for each in damaged:
        print(f"autoprune: left out: {each}", file=sys.stderr)
    show(comparison(experiments))
    if plot:
        from autoprune.report.picture import fronts_picture

        print(fronts_picture(experiments, plot), file=sys.stderr)
