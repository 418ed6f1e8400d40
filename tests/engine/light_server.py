"""A server of workers whose trials do what the environment says, without PyTorch."""

import os
import sys
import time
from functools import partial
from pathlib import Path

from autoprune.base.progress import track
from autoprune.engine import worker
from autoprune.engine.workers_server import serve


class Trials:
    usable = True
    number = 0

    def run(self):
        self.number += 1
        do = os.environ["DO"]
        print(os.getpid(), self.number, Path.cwd().name, flush=True)
        if do == "steps":
            for _ in track(range(10**9), "step", 10**9):
                time.sleep(0.01)
        if do == "sleep":
            time.sleep(1000)
        if do == "break":
            self.usable = False
        return int(os.environ.get("STATUS", "0"))

    def clean(self):
        pass


def be_worker(words, pipe):
    assert words == ["some", "words"]
    worker.GRACE = 0.5
    worker.work(pipe, Trials())


if __name__ == "__main__":
    how, address, manager, *words = sys.argv[1:]
    assert how == "workers"
    host, _, port = manager.rpartition(":")
    serve(Path(address), (host, int(port)), partial(be_worker, words))
