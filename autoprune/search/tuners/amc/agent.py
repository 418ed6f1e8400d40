"""The actor-critic of the RL tuner: stable-baselines3's TD3, driven from outside."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from autoprune.search.tuners.amc.walk import Step

BUFFER = 100_000
"""Transitions that are remembered: some thousand walks."""
BATCH = 64
STEPS_PER_GROUP = 5
"""Gradient steps after a result, for each group of the walk; at least :data:`LEAST_STEPS`."""
LEAST_STEPS = 30


class Agent:
    """An off-policy actor-critic over walks of a fixed length, without discounting.

    TD3 (Fujimoto et al. 2018) is DDPG, which AMC uses, with two critics of which the lower is believed. In trials on
    layers with a known optimum it learnt better than DDPG from the same walks, or as well where the probe was wrong.

    Args:
        state_size: numbers in a state.
        groups: steps of a walk.
        seed: of the networks and of what they are trained on.
    """

    def __init__(self, state_size: int, groups: int, seed: int) -> None:
        import gymnasium
        import torch
        from stable_baselines3 import TD3
        from stable_baselines3.common.logger import Logger

        torch.set_num_threads(1)
        spaces: gymnasium.Env = gymnasium.Env()  # only tells the shapes: the tuner walks by itself
        spaces.observation_space = gymnasium.spaces.Box(0, 1, (state_size,), np.float32)
        spaces.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self._random: tuple[Any, Any, Any] | None = None
        with self._own_random():
            self._model = TD3(
                "MlpPolicy",
                spaces,
                learning_rate=1e-3,
                buffer_size=BUFFER,
                batch_size=BATCH,
                gamma=1.0,
                tau=0.01,
                target_policy_noise=0.2,
                target_noise_clip=0.4,
                policy_kwargs={"net_arch": [64, 64]},
                seed=seed,
                device="cpu",
            )
        self._model.set_logger(Logger(folder=None, output_formats=[]))  # `configure` leaves folders in /tmp
        self._steps = max(LEAST_STEPS, STEPS_PER_GROUP * groups)

    def act(self, state: np.ndarray) -> float:
        """Return the action, in [-1, 1], that the agent thinks best, without noise."""
        return float(self._model.predict(state, deterministic=True)[0][0])

    def remember(self, steps: Sequence[Step], rewards: Sequence[float]) -> None:
        """Put a walk, and the reward of each of its steps, into the replay buffer."""
        for number, (step, reward) in enumerate(zip(steps, rewards, strict=True)):
            last = number + 1 == len(steps)
            following = step if last else steps[number + 1]
            self._model.replay_buffer.add(
                step.state[None],
                following.state[None],
                np.array([[step.action]], dtype=np.float32),
                np.array([reward]),
                np.array([last]),
                [{}],
            )

    def train(self, walks: int = 1) -> None:
        """Take the gradient steps that are due for ``walks`` new results."""
        with self._own_random():
            self._model.train(gradient_steps=walks * self._steps, batch_size=BATCH)

    def to_bytes(self) -> bytes:
        """Return the networks and their optimisers' states; not the replay buffer."""
        import torch

        buffer = io.BytesIO()
        torch.save(self._model.get_parameters(), buffer)
        return buffer.getvalue()

    def load_bytes(self, content: bytes) -> None:
        """Take what :meth:`to_bytes` returned."""
        import torch

        self._model.set_parameters(torch.load(io.BytesIO(content), weights_only=True), device="cpu")

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Put this agent's state into the global generators, which stable-baselines3 seeds and draws from."""
        import torch

        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        _set_random(self._random or before)
        try:
            yield
        finally:
            self._random = random.getstate(), np.random.get_state(), torch.get_rng_state()
            _set_random(before)


def _set_random(states: tuple[Any, Any, Any]) -> None:
    import torch

    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
