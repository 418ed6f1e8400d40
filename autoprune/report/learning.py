"""The learning curve of a tuner that learns: episodes of the RL agent, as it wrote them down."""

from __future__ import annotations

import json
from dataclasses import dataclass

from autoprune.results.experiment import Experiment

FILE = "checkpoint/rl.jsonl"
"""In the experiment's folder: a JSON object on a line for each episode that has ended."""


@dataclass(frozen=True)
class Episode:
    """One walk of the agent over the network's groups.

    Args:
        episode: its number.
        reward: what the agent was given for it.
        quality: the metric of its candidate, on validation data; None if the trial failed.
        target: the fraction of the dense model's MACs that it had to meet, or None.
        random: whether the agent acted at random, before it began to learn.
    """

    episode: int
    reward: float
    quality: float | None
    target: float | None
    random: bool


def read_episodes(experiment: Experiment) -> list[Episode]:
    """Return the agent's episodes so far; none where no agent learned. A line that is being written is left out."""
    file = experiment.folder / FILE
    episodes = []
    for line in file.read_text().splitlines() if file.is_file() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        quality = entry.get("quality", entry.get("accuracy"))  # as earlier versions called it
        random = bool(entry.get("random"))
        episodes.append(Episode(entry["episode"], entry["reward"], quality, entry.get("target"), random))
    return episodes


def smoothed(values: list[float], over: int = 10) -> list[float]:
    """Return the mean of each value and the ``over - 1`` before it."""
    windows = [values[max(0, i + 1 - over) : i + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]
