"""TensorBoard: curves over the trials, a row for each under HPARAMS, the front as text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from autoprune.base.tables import markdown
from autoprune.report.loggers.base import Ended, Logger, Outcome


class TensorBoard(Logger):
    """Writes into a folder of its own in ``runs``, where the command is called."""

    package = "tensorboard"

    def begin(self, name: str, about: Mapping[str, str]) -> str:
        """Open the folder."""
        from torch.utils.tensorboard import SummaryWriter

        folder = Path("runs", f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}")
        self._begun, self._writer = time.monotonic(), SummaryWriter(folder)
        self._writer.add_text("search", "\n".join(markdown(["", ""], [*about.items()])))
        return f"tensorboard --logdir {folder}"

    def doing(self, words: str) -> None:
        """Write the words, a step for each second."""
        self._writer.add_text("doing", words, int(time.monotonic() - self._begun))

    def trial(self, ended: Ended) -> None:
        """Add a point to each curve."""
        for name, value in ended.numbers.items():
            self._writer.add_scalar(name, value, ended.step)
        measures = {name: value for name, value in ended.numbers.items() if name.startswith("trial/")}
        chosen = {name: value for name, value in ended.numbers.items() if name not in measures}
        self._writer.add_hparams({**chosen, **ended.texts}, measures, run_name=ended.id, global_step=ended.step)
        self._writer.flush()

    def end(self, outcome: Outcome) -> None:
        """Write both as text, and the chosen model's numbers."""
        self._writer.add_text("front", "\n".join(markdown(*outcome.table)))
        self._writer.add_text("chosen", outcome.chosen)
        for name, value in outcome.numbers.items():
            self._writer.add_scalar(name, value)

    def close(self, complete: bool) -> None:
        """Close the files."""
        self._writer.close()
