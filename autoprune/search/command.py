"""The trial command of an experiment's config: ``autoprune trial TASK [options]``, where AutoPrune's settings live.

NNI's config has no place for settings of a trial's own, so they are options of the command that NNI starts; the
launcher, the dispatcher and the trial all read the same line.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, fields
from typing import NoReturn

from autoprune.errors import UserError

RUNTIMES = ("eager", "compile", "onnxruntime")
"""Where latency can be measured: PyTorch eager, torch.compile, ONNX Runtime; all on the CPU."""


@dataclass(frozen=True)
class TrialCommand:
    """The settings of an experiment's trials.

    Args:
        task: a built-in name, ``FILE.py[:ATTRIBUTE]`` or ``MODULE:ATTRIBUTE``.
        checkpoint: a state dict of the trained dense model; without one it is trained.
        initial: a state dict of the weights that the checkpoint's training began with.
        seed: of every trial's recovery and of the dense training.
        round_to: kept channels are a multiple of this.
        recovery_steps: fine-tuning steps after pruning; the task's own number if None.
        shared_steps: steps of the recovery that all candidates share; if None it ends by itself.
        size_weight: exponent of the size in the scalar metric ``default``.
        baselines: whether the baselines run.
        recipe_trials: how many recovery recipes are tried before the search; none if 0.
        seeds: how often each network of the final front is fine-tuned.
        warm_start: whether the search is prepared: sensitivities probed, first candidates solved for.
        latency: the runtime in which trials measure ``latency_ms``, a name in :data:`RUNTIMES`.
        latency_batch: examples per pass in that measurement.

    Raises:
        UserError: initial weights without a checkpoint.
    """

    task: str
    checkpoint: str | None = None
    initial: str | None = None
    seed: int = 0
    round_to: int = 8
    recovery_steps: int | None = None
    shared_steps: int | None = None
    size_weight: float = 0.07
    baselines: bool = True
    recipe_trials: int = 0
    seeds: int = 3
    warm_start: bool = True
    latency: str = "eager"
    latency_batch: int = 1

    def __post_init__(self) -> None:
        """Refuse initial weights of no checkpoint."""
        if self.initial and not self.checkpoint:
            raise UserError("--initial FILE holds the weights that the training of --checkpoint began with: name both")

    @property
    def knows_initial(self) -> bool:
        """Whether the weights before the dense model's training are known."""
        return not self.checkpoint or bool(self.initial)

    @classmethod
    def parse(cls, command: str) -> TrialCommand | None:
        """Read a config's trial command, or return None if it does not run ``autoprune trial``.

        Raises:
            UserError: it does, with a wrong option.
        """
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"trialCommand {command!r} cannot be read: {error}") from None
        for i, word in enumerate(words[:-1]):
            if word.rpartition("/")[2] == "autoprune" and words[i + 1] == "trial":
                return cls.from_words(words[i + 2 :])
        return None

    @classmethod
    def from_words(cls, words: list[str]) -> TrialCommand:
        """Read the words that follow ``autoprune trial``.

        Raises:
            UserError: a wrong option or value.
        """
        parser = _Parser(prog="autoprune trial", add_help=False, allow_abbrev=False)
        parser.add_argument("task")
        parser.add_argument("--checkpoint")
        parser.add_argument("--initial")
        parser.add_argument("--seed", type=int, default=cls.seed)
        parser.add_argument("--round-to", type=int, default=cls.round_to)
        parser.add_argument("--recovery-steps", type=int)
        parser.add_argument("--shared-steps", type=int)
        parser.add_argument("--size-weight", type=float, default=cls.size_weight)
        parser.add_argument("--no-baselines", dest="baselines", action="store_false")
        parser.add_argument("--recipe-trials", type=int, default=cls.recipe_trials)
        parser.add_argument("--seeds", type=int, default=cls.seeds)
        parser.add_argument("--no-warm-start", dest="warm_start", action="store_false")
        parser.add_argument("--latency", choices=RUNTIMES, default=cls.latency)
        parser.add_argument("--latency-batch", type=int, default=cls.latency_batch)
        settings = cls(**vars(parser.parse_args(words)))
        from_one = dict.fromkeys(("round_to", "recovery_steps", "shared_steps", "latency_batch", "seeds"), 1)
        for name, lowest in (from_one | dict.fromkeys(("seed", "size_weight", "recipe_trials"), 0)).items():
            value = getattr(settings, name)
            if value is not None and value < lowest:
                raise UserError(f"autoprune trial: --{name.replace('_', '-')} must be at least {lowest}, not {value}")
        return settings

    def to_words(self) -> list[str]:
        """Return the words of the command (the inverse of :meth:`parse`), without what is unsaid."""
        words = ["autoprune", "trial", self.task]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name in ("baselines", "warm_start"):
                words += [] if value else [f"--no-{field.name.replace('_', '-')}"]
            elif value != field.default:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
