"""What the RL tuner keeps on disk, so that it goes on where it was after its process was killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STATE, NETWORKS, CURVE = "rl.json", "rl.pt", "rl.jsonl"
"""Names of its files: what happened, the agent's networks, and the learning curve for the report."""


@dataclass
class Episode:
    """A walk through the groups, and what its candidate was found to be.

    Args:
        parameters: of its trial.
        target: the largest size it was allowed, as a fraction of the dense network's.
        noise: standard deviation of the exploration, as a fraction of the range of actions.
        random: whether its actions were drawn with no regard to the agent.
        quality: the metric of the candidate; None while it runs.
        macs: of the candidate.
        reward: AMC's under a limit on resources: what is missing to a perfect network, negated.
    """

    parameters: dict[str, Any]
    target: float
    noise: float
    random: bool
    quality: float | None = None
    macs: float | None = None
    reward: float | None = None

    @classmethod
    def read(cls, content: dict[str, Any]) -> Episode:
        """Return an episode as it was saved, also by earlier versions, which knew no metric but accuracy."""
        if "accuracy" in content:
            quality = content.pop("accuracy")
            content = content | {"quality": quality, "reward": None if quality is None else quality - 1}
        return cls(**content)


@dataclass
class State:
    """All that happened so far.

    Args:
        episodes: those that are judged, in the order of their results.
        lessons: what the agent learnt from: the number of an episode, and the target for which its walk counted.
        running: those whose trials run, by the trial's parameter id; as ``interrupted-N`` once their tuner has died.
        failed: the parameters of the trials that failed.
        walks: begun so far, refused ones included: each has random numbers of its own.
        trained: episodes that the networks were trained after.
    """

    episodes: list[Episode] = field(default_factory=list)
    lessons: list[tuple[int, float | None]] = field(default_factory=list)
    running: dict[str, Episode] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    walks: int = 0
    trained: int = 0


class Store:
    """A folder with the tuner's state. Each file is replaced as a whole, so that a kill leaves the old or the new one.

    Args:
        folder: made if need be. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: State, networks: bytes | None = None) -> None:
        """Write the state, the learning curve, and the networks if they have changed."""
        if self.folder is None:
            return
        if networks is not None:
            self._replace(NETWORKS, networks)
        self._replace(STATE, json.dumps(asdict(state)).encode())
        self._replace(CURVE, "".join(map(_line, range(len(state.episodes)), state.episodes)).encode())

    def load(self) -> State:
        """Return the state that was saved last; a fresh one if there is none."""
        saved = self._read(STATE)
        if saved is None:
            return State()
        content = json.loads(saved)
        content["episodes"] = [Episode.read(each) for each in content["episodes"]]
        content["lessons"] = [(number, target) for number, target in content["lessons"]]
        # Ids may start anew in the next process: only the parameters tell these trials apart.
        content["running"] = {
            f"interrupted-{number}": Episode.read(each) for number, each in enumerate(content["running"].values())
        }
        return State(**content)

    def networks(self) -> bytes | None:
        """Return the networks that were saved last, or None."""
        return self._read(NETWORKS)

    def _read(self, name: str) -> bytes | None:
        file = None if self.folder is None else self.folder / name
        return file.read_bytes() if file and file.exists() else None

    def _replace(self, name: str, content: bytes) -> None:
        assert self.folder is not None  # nothing is saved without one
        partial = self.folder / f"{name}.partial"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / name)


def _line(number: int, episode: Episode) -> str:
    shown = {
        "episode": number,
        "reward": episode.reward,
        "quality": episode.quality,
        "macs": episode.macs,
        "target": episode.target,
        "noise": episode.noise,
        "random": episode.random,
    }
    return json.dumps(shown) + "\n"
