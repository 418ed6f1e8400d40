"""The process in which the tuner lives: started by NNI's manager instead of ``python -m nni``.

It differs from NNI's where that goes wrong: a failing tuner ends the experiment with its reason, commands are handled
in the order in which they came, a lost manager ends the process, nothing that arrives is unpickled, and AutoPrune's
baselines run before the tuner is asked for anything.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
from pathlib import Path

from autoprune.base.files import write_text
from autoprune.nni.channel import Channel, ManagerLost

ERROR_FILE = "tuner_error.txt"
"""In the experiment's log folder: why the tuner failed, on one line."""


def main() -> int:
    """Run the tuner of the experiment that the manager's ``--exp_params`` describe; return the exit status."""
    # First of all: the manager waits ten seconds, and importing nni or making a tuner may take longer.
    channel = Channel(os.environ["NNI_TUNER_COMMAND_CHANNEL"])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exp_params", required=True, help="the experiment's config: JSON in base64")
    config = json.loads(base64.b64decode(parser.parse_args().exp_params))
    error_file = Path(os.environ["NNI_LOG_DIRECTORY"], ERROR_FILE)
    error_file.unlink(missing_ok=True)

    from autoprune.nni.tuner_host import run

    try:
        reason = run(config, channel)
        if reason is not None:
            write_text(error_file, reason + "\n")
            channel.report_error(reason)
        channel.close()
    except ManagerLost:
        return 1
    return 0 if reason is None else 1


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # a tuner's own threads must not keep a failed tuner alive
