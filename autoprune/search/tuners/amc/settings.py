"""What an :class:`.AmcTuner` is made with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from autoprune.base.checked import STRICT, Count, Seed, Text, allowed_by, check
from autoprune.base.places import check_folder
from autoprune.errors import unknown

SIZES = ("macs", "params")


def _check_size(name: Any) -> None:
    if not isinstance(name, str) or name not in SIZES:
        raise unknown("size", name, SIZES)


def _check_storage(folder: Any) -> None:
    check("storage", folder, Text | None)
    if folder is not None:
        check_folder(Path(folder))


@dataclass(frozen=True, config=STRICT)
class AmcSettings:
    """The arguments of an :class:`.AmcTuner`.

    Args:
        target: the largest size as a fraction of the dense network's, in (0, 1]: AMC's mode, one agent for one size.
            None for the whole front.
        size: what the target limits, ``macs`` or ``params``.
        warmup: episodes of random actions before the agent's.
        shaping: whether the reward is spread over the walk by the probed sensitivities. The sum over a walk stays the
            same, so the best policy does too (Ng et al. 1999); without, the reward comes after the last group alone,
            as in AMC.
        seed: of the agent and its noise.
        storage: the folder that keeps the state. If None, the experiment's ``checkpoint`` folder; none outside of NNI.

    Raises:
        UserError: one is wrong.
    """

    target: Annotated[float, Field(gt=0, le=1)] | None = None
    size: Annotated[Literal["macs", "params"], allowed_by(_check_size)] = "macs"
    warmup: Count = 15
    shaping: bool = True
    seed: Seed = 0
    storage: Annotated[str | None, allowed_by(_check_storage)] = None
