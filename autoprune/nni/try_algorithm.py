"""Making a tuner or an assessor on trial, in a process of its own: it may be anybody's, and seeds global generators.

A JSON object comes in by standard input; if it cannot be made, the last line of standard output says why.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

from autoprune.errors import UserError
from autoprune.nni.algorithms import Kind, create, describe


def make(kind: Kind, section: dict[str, Any], space: dict[str, Any]) -> None:
    """Make an algorithm, and give a tuner the search space; one of NNI's own is also asked for a candidate.

    Args:
        kind: ``tuner`` or ``assessor``.
        section: of the config, in NNI's JSON form.
        space: in NNI's format.

    Raises:
        UserError: why it cannot be made.
    """
    label = f"{kind} {section.get('name') or section.get('className')}"
    algorithm = create(section, kind)
    try:
        if kind == "tuner" and hasattr(algorithm, "update_search_space"):
            algorithm.update_search_space(space)
            if section.get("name"):
                algorithm.generate_parameters(0)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{label} does not take the search space: {describe(error)}") from error


def main() -> int:
    """Do what standard input says; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NNI_CHECKPOINT_DIRECTORY": folder, "NNI_LOG_DIRECTORY": folder}
        try:
            make(**json.load(sys.stdin))
        except UserError as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of the algorithm's own do not keep it alive
