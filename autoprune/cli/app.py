"""The command line itself: the application, what its commands have in common, and how errors are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autoprune.base.places import check_file
from autoprune.base.printable import printable
from autoprune.base.quiet import quiet_libraries
from autoprune.base.version import __version__
from autoprune.errors import TrialFailure, UserError

app = typer.Typer(
    help="Search for the sparsity of every layer, and take home a really smaller model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"autoprune {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version, and end")
    ] = False,
) -> None:
    pass


def known_tasks(incomplete: str) -> list[str]:
    """Return the built-in tasks whose names begin so, for the shell."""
    from autoprune.task.builtin import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def _known_experiments(incomplete: str) -> list[str]:
    from autoprune.nni.database import registry

    return [name for name in ("latest", *registry()) if name.startswith(incomplete)]


ExperimentId = Annotated[
    str, typer.Argument(metavar="ID", help="an experiment's id, or latest", autocompletion=_known_experiments)
]
TaskName = Annotated[
    str,
    typer.Argument(metavar="TASK", help="a built-in task, FILE.py[:NAME] or MODULE:NAME", autocompletion=known_tasks),
]
Rule = Annotated[
    str | None, typer.Option(help="drop<=1%, accuracy>=0.98, knee, macs<=20M, latency<=5ms, or a trial's id")
]
Confidence = Annotated[
    float, typer.Option(help="that the true drop keeps a limit such as drop<=1%; 0 takes drops as measured")
]
Objectives = Annotated[
    str | None, typer.Option(help="comma-separated, such as accuracy,params; the config's by default")
]
Device = Annotated[str, typer.Option(help="where networks are trained: cpu, auto, cuda, cuda:1, mps or xpu")]
Tie = Annotated[
    str | None, typer.Option(help="kinds of groups that have one sparsity together, such as mlp,heads; also width")
]
Width = Annotated[
    bool, typer.Option("--width", help="channels under norms may go too (the residual stream), which is inexact")
]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="of NNI's web UI, on 127.0.0.1")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of the runtimes, at most the machine's cores")]


def _picture(file: Path | None) -> Path | None:
    if file is not None:
        from autoprune.report.picture import check_picture

        check_picture(file)
    return file


def kinds_in(named: str | None) -> tuple[str, ...]:
    """Return the kinds of groups in a comma-separated list."""
    return tuple(dict.fromkeys(kind.strip() for kind in named.split(","))) if named else ()


def checked_file(file: Path | None) -> Path | None:
    """Return a file that can be written (see :func:`.check_file`), or None."""
    if file is not None:
        check_file(file)
    return file


PictureFile = Annotated[
    Path | None, typer.Option(callback=_picture, help="draws it to a .png, .pdf or .svg file as well")
]

UsageError: Any = typer.BadParameter.__base__  # click's own, or that of typer's copy of click


def main() -> None:
    """Run the command line; bad input is one line and exit status 2, a network that cannot be judged one and 1."""
    quiet_libraries()
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()  # now, while a reader that went away can be handled
    except (UserError, UsageError, TrialFailure) as error:
        print(printable(f"autoprune: {_line(error)}"), file=sys.stderr)
        status = 1 if isinstance(error, TrialFailure) else 2
    except typer.Abort:
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the exit
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _line(error: Any) -> str:
    return " ".join(error.format_message().split()) if isinstance(error, UsageError) else str(error)
