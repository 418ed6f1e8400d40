"""The trial command of an experiment's config: ``autoprune trial TASK [options]``, where AutoPrune's settings live.

NNI's config has no place for settings of a trial's own, so they are options of the command that NNI starts; the
launcher, the dispatcher and the trial all read the same line.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from autoprune.base.checked import STRICT, Batch, Count, Seed, Text, Whole, make, plainly
from autoprune.errors import UserError, short, unknown
from autoprune.results.limits import read_limits
from autoprune.results.measures import METRIC, OPTIONAL, Measure, optional_among, read_metric

FORMER_OPTIONS = {"supernet_steps": ("--shared-steps",)}
"""What options of the command were called in earlier versions."""


@dataclass(frozen=True, config=STRICT)
class TrialCommand:
    """The settings of an experiment's trials, and at once the options of the command.

    The option of a field has its name, with ``-`` for ``_``; that of a boolean which is true by itself, ``--no-NAME``.

    Args:
        task: a built-in name, ``FILE.py[:ATTRIBUTE]`` or ``MODULE:ATTRIBUTE``.
        checkpoint: a state dict of the trained dense model; without one it is trained.
        initial: a state dict of the weights that the checkpoint's training began with.
        seed: of every trial's recovery and of the dense training.
        round_to: kept channels are a multiple of this.
        recovery_steps: fine-tuning steps after pruning; the task's own number if None.
        supernet_steps: steps of the training that all candidates share; if None it ends by itself.
        size_weight: exponent of the size in the scalar metric ``default``.
        baselines: whether the baselines run.
        recipe_trials: how many recovery recipes are tried before the search; none if 0.
        seeds: how often each network of the final front is fine-tuned.
        warm_start: whether the search is prepared: sensitivities probed, first candidates solved for.
        latency: the runtime in which trials measure ``latency_ms``, a name in the registry of
            ``autoprune.measure.runtimes``, which is checked against it before anything starts.
        latency_batch: examples per pass in that measurement.
        rewinding: whether there are the weights from which the dense model was trained; ``--no-rewinding`` is written
            here when an experiment starts whose task comes with a trained model.
        metric: the measure that judges networks, as :func:`autoprune.results.measures.read_metric` reads it; written
            here for those who do not load the task, when an experiment starts.
        also: the optional measures (:data:`autoprune.results.measures.OPTIONAL`) that trials take, with commas between;
            written here when an experiment starts whose objectives or constraints name one.
        precision: in which networks are trained, see :class:`autoprune.Recipe`; each recipe's own if None.
        width: whether groups under a norm may lose channels too, which changes the function: the residual stream.
        device: where networks are trained and judged: ``cpu``, an accelerator's name as PyTorch has it (``cuda``,
            ``cuda:1``, ``mps``, ``xpu``), or ``auto``, in whose place the one that was found is written when an
            experiment starts.

    Raises:
        pydantic.ValidationError: a value of another kind (:meth:`checked` says the same in one line).
        UserError: initial weights without a checkpoint, or what no device is called.
    """

    task: Text
    checkpoint: Text | None = None
    initial: Text | None = None
    seed: Seed = 0
    round_to: Count = 8
    recovery_steps: Count | None = None
    supernet_steps: Count | None = None
    size_weight: Annotated[float, Field(ge=0, le=10)] = 0.07
    baselines: bool = True
    recipe_trials: Whole = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    warm_start: bool = True
    latency: Text = "eager"
    latency_batch: Batch = 1
    rewinding: bool = True
    metric: Text = METRIC.name
    device: Text = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    also: Text | None = None
    width: bool = False

    @classmethod
    def checked(cls, **values: object) -> TrialCommand:
        """Return the settings with these values.

        Raises:
            UserError: a value of another kind.
        """
        return make(cls, **values)

    def __post_init__(self) -> None:
        """Refuse initial weights of no checkpoint, what is no metric or measure, and what no device is called."""
        read_metric(self.metric)
        for name in self.also.split(",") if self.also else ():
            if name not in OPTIONAL:
                raise unknown("measure", name, OPTIONAL)
        if not re.fullmatch(r"[a-z]+(:\d{1,3})?", self.device):
            raise UserError(f"--device must be auto, cpu, cuda, cuda:N, mps or xpu, not {short(self.device)}")
        if self.initial and self.rewinding and not self.checkpoint:
            raise UserError("--initial FILE holds the weights that the training of --checkpoint began with: name both")

    @property
    def measure(self) -> Measure:
        """The measure that judges networks."""
        return read_metric(self.metric)

    @property
    def optional(self) -> tuple[str, ...]:
        """The optional measures that trials take."""
        return optional_among((self.also or "").split(","))

    def measuring(self, objectives: Sequence[str], constraints: Sequence[str]) -> TrialCommand:
        """Return the settings with the optional measures that objectives and constraints ask for."""
        limited = [limit.measure for limit in read_limits(constraints, self.measure)]
        asked = optional_among([*self.optional, *objectives, *limited])
        return replace(self, also=",".join(asked) or None)

    @property
    def knows_initial(self) -> bool:
        """Whether the weights before the dense model's training are known."""
        return bool(self.initial) or (self.rewinding and not self.checkpoint)

    @classmethod
    def parse(cls, command: str) -> TrialCommand | None:
        """Read a config's trial command, or return None if it does not run ``autoprune trial``.

        Raises:
            UserError: it does, with a wrong option.
        """
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"trialCommand {short(command)} cannot be read: {error}") from None
        for i, word in enumerate(words[:-1]):
            if word.rpartition("/")[2] == "autoprune" and words[i + 1] == "trial":
                return cls.from_words(words[i + 2 :])
        return None

    @classmethod
    def from_words(cls, words: Sequence[str]) -> TrialCommand:
        """Read the words that follow ``autoprune trial``.

        Raises:
            UserError: a wrong option or value.
        """
        parser = _Parser(prog="autoprune trial", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
        parser.add_argument("task")
        for field in fields(cls)[1:]:
            how: dict[str, Any] = {}
            if isinstance(field.default, bool):
                how = {"action": "store_const", "const": str(not field.default).lower()}
            options = [_option(field.name, field.default), *FORMER_OPTIONS.get(field.name, ())]
            parser.add_argument(*options, dest=field.name, **how)
        values = vars(parser.parse_args(words))
        with plainly(lambda place: _option(str(place[-1])), where="autoprune trial: "):
            return TypeAdapter(cls).validate_strings(values, strict=False)

    def to_words(self) -> list[str]:
        """Return the words of the command (the inverse of :meth:`parse`), without what has its default."""
        words = ["autoprune", "trial", self.task]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                words += [_option(field.name, field.default), *([] if isinstance(value, bool) else [str(value)])]
        return words


def _option(name: str, default: object = None) -> str:
    return ("--no-" if default is True else "--") + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        wrong = next((word for word in message.split() if word.startswith("--")), "")
        near = difflib.get_close_matches(wrong, self._option_string_actions) if "unrecognized" in message else []
        raise UserError(f"{self.prog}: {message}" + (f": did you mean {near[0]}?" if near else ""))
