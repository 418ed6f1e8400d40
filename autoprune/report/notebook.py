"""A search's result as a notebook draws it: the front as a picture, and as a table."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from markupsafe import escape

from autoprune.report.picture import front_picture
from autoprune.report.rows import Row, front_rows
from autoprune.results.experiment import Experiment
from autoprune.results.pareto import size_of


def front_html(experiment: Experiment) -> str:
    """Return the Pareto front, which needs nothing from the network: a drawing in SVG above a table."""
    drawing = ""
    if experiment.candidates:
        with TemporaryDirectory() as folder:
            size = size_of(experiment.objectives, metric=experiment.metric)
            text = front_picture(experiment, Path(folder, "front.svg"), size).read_text()
        drawing = f'<div style="max-width: 40em">{text[text.index("<svg") :]}</div>'
    titles = ["network", "how", experiment.metric.title, *(size.title for size in experiment.sizes.values())]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(_row(row) for row in front_rows(experiment))
    return f"{drawing}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Row) -> str:
    cells = [f"{cell.text} ({cell.compared})" if cell.compared else cell.text for cell in row.cells.values()]
    cells = [row.label, row.about, *cells]
    return f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in cells)}</tr>"
