"""An RL agent in the manner of AMC."""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoprune.base.checked import make
from autoprune.errors import UserError
from autoprune.results.candidate import PREFIX, Candidate, renamed
from autoprune.results.measures import MEASURES
from autoprune.results.prepared import Prepared
from autoprune.search.ties import tied_curves
from autoprune.search.tuners.amc.settings import AmcSettings
from autoprune.search.tuners.amc.store import Episode, Store
from autoprune.search.tuners.amc.walk import Walk, check_space, predicted_loss
from autoprune.search.tuners.base import Metrics, Tuner

if TYPE_CHECKING:
    from autoprune.search.tuners.amc.agent import Agent

NOISE, DECAY = 0.5, 0.95
"""Standard deviation of the exploration after the warm-up, and its factor from one episode to the next (AMC's)."""
UNIT = 0.1
"""Accuracy that makes a reward of 1."""
TRIES = 50
"""Walks in search of a candidate that was not judged before."""
GOLDEN = (math.sqrt(5) - 1) / 2

UNPREPARED = (
    "the RL tuner needs the preparation of the search, which tells it the sizes of the candidates: "
    "run it with `autoprune trial TASK` as the trial command, without --no-warm-start"
)

_log = logging.getLogger(__name__)


class AmcTuner(Tuner):
    """Walk the groups, see each one's features and what budget is left, and set its sparsity.

    The method is AMC's (He et al. 2018, https://arxiv.org/abs/1802.03494) with an off-policy actor-critic of
    stable-baselines3. Actions are bounded so that every candidate meets its target (see
    :class:`.Walk`). Beyond AMC, the target is part of the state: without ``target`` each
    episode draws its own, and one agent learns the whole front. A result then also teaches what its walk was worth
    for the size that it really reached.

    A candidate that was already judged is not run again: its reward is learnt from at once, and the walk is repeated
    with more noise. All that happened is kept in a folder, from which a restarted tuner goes on.

    Where the search space has several criteria or schedules, the first of each is taken: the walk is about sparsities.

    Args:
        **arguments: see :class:`.AmcSettings`.

    Raises:
        UserError: a wrong argument.
    """

    __signature__ = inspect.signature(AmcSettings)

    def __init__(self, **arguments: Any) -> None:
        self.validate(**arguments)
        self.settings = make(AmcSettings, **arguments)
        folder = self.settings.storage or os.environ.get("NNI_CHECKPOINT_DIRECTORY")
        self._store = Store(Path(folder) if folder else None)
        self._state = self._store.load()
        self._space: dict[str, Any] = {}
        self._early: list[tuple[Mapping[str, Any], Any]] = []
        self._prepared: Prepared | None = None
        self._walk: Walk | None = None
        self._agent: Agent | None = None

    @staticmethod
    def validate(**arguments: Any) -> None:
        """Check the arguments of the constructor without making an agent.

        Raises:
            UserError: one is wrong, or the agent's library is not installed.
        """
        if find_spec("stable_baselines3") is None:
            raise UserError("the RL tuner needs stable-baselines3: pip install 'autoprune[rl]'")
        make(AmcSettings, **arguments)

    @staticmethod
    def check_search(space: Mapping[str, Mapping[str, Any]], warm_start: bool, **arguments: Any) -> None:
        """Check the constructor's arguments, and that a search over ``space`` can begin with them.

        Args:
            space: in NNI's format, checked already.
            warm_start: whether the search is prepared.

        Raises:
            UserError: it cannot.
        """
        AmcTuner.validate(**arguments)
        check_space(space)
        if not warm_start:
            raise UserError(UNPREPARED)

    @property
    def episodes(self) -> Sequence[Episode]:
        """The walks that were judged, in the order of their results."""
        return tuple(self._state.episodes)

    def update_search_space(self, search_space: Mapping[str, Mapping[str, Any]]) -> None:
        """Take NNI's search space.

        Raises:
            UserError: it has no groups, or something that a walk over groups cannot decide on.
        """
        check_space(search_space)
        self._space = dict(search_space)
        self._fixed = {
            name: search_space[name]["_value"][0] if name in search_space else getattr(Candidate, name)
            for name in ("criterion", "schedule")
        }
        if self._prepared is not None:
            self._begin(self._prepared)

    def prepare(self, prepared: Sequence[Prepared]) -> None:
        """Take what is known about the network: its sizes and sensitivities.

        Raises:
            UserError: the search space is another network's.
        """
        if prepared:
            same = (each for each in prepared if each.criterion == self._fixed["criterion"])
            self._prepared = next(same, prepared[0])
            self._begin(self._prepared)

    def ask(self, number: int) -> dict[str, Any]:
        """Walk to a candidate that was not proposed before (or give up after 50 walks and repeat one).

        Raises:
            UserError: the search was not prepared.
        """
        begun = len(self._state.episodes) + len(self._state.running) + len(self._state.failed)
        _prepared, walk, agent = self._ready()
        target = self._target(walk, begun)
        judged = {self._key(episode.parameters): i for i, episode in enumerate(self._state.episodes)}
        proposed = {self._key(each.parameters) for each in self._state.running.values()}
        proposed |= {self._key(parameters) for parameters in self._state.failed}
        noise = NOISE * DECAY ** max(0, begun - self.settings.warmup)
        for attempt in range(TRIES):
            # A policy that has settled would walk the same way for ever: each refusal widens the noise.
            wider = min(NOISE, noise * 1.2**attempt)
            sparsity = self._explore(walk, agent, target, None if begun < self.settings.warmup else wider)
            parameters = self._parameters(sparsity)
            key = self._key(parameters)
            if key in judged:
                if attempt == 0:
                    self._learn(judged[key], target)
            elif key not in proposed:
                break
        random = begun < self.settings.warmup
        self._state.running[str(number)] = Episode(parameters, target, 1.0 if random else wider, random)
        self._store.save(self._state)
        return dict(parameters)

    def tell(self, number: int, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        """Learn from a trial's metrics, which have the task's; the candidate of one without is not proposed again."""
        self._take(self._running(str(number), parameters), parameters, metrics)

    def resume(self, results: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
        """Take the results that a resumed experiment already has; those that are known are not learnt twice."""
        if self._agent is None:
            self._early += results
            return
        known = {self._key(episode.parameters) for episode in self._state.episodes}
        for parameters, metrics in results:
            if not isinstance(parameters, Mapping) or not self._is_ours(parameters):
                continue
            key = self._key(parameters)
            if key not in known:
                known.add(key)
                self._take(self._running("", parameters), parameters, metrics)

    def propose(self, target: float) -> dict[str, Any]:
        """Return the parameters that the agent thinks best for a target, without noise.

        Args:
            target: the largest size as a fraction of the dense network's.

        Raises:
            UserError: the search was not prepared.
        """
        prepared, walk, agent = self._ready()
        return self._parameters(walk.go(target, agent.act))

    def propose_random(self, target: float, seed: int = 0) -> dict[str, Any]:
        """Return the parameters that a walk of random actions gives for a target: the warm-up's policy.

        Raises:
            UserError: the search was not prepared.
        """
        rng = np.random.default_rng(seed)
        return self._parameters(self._ready()[1].go(target, lambda state: float(rng.uniform(-1, 1))))

    def _begin(self, prepared: Prepared) -> None:
        """Make the agent, remind it of all that happened, and hear the results that came before it was made."""
        from autoprune.search.tuners.amc.agent import Agent

        self._metric = MEASURES[prepared.metric]
        self._walk = Walk(prepared.sizes, self._space, self._curves(prepared), self.settings.size)
        self._agent = Agent(self._walk.state_size, len(self._walk.grid), self.settings.seed)
        lessons, self._state.lessons = self._state.lessons, []
        for number, target in lessons:
            self._learn(number, target)
        networks = self._store.networks()
        if networks:
            self._agent.load_bytes(networks)
        early, self._early = self._early, []
        self.resume(early)

    def _curves(self, prepared: Prepared) -> dict[str, list[tuple[float, float]]]:
        """Return for each group ``(sparsity, 1 - drop)`` pairs: what the probe says is left of the network."""
        dense = prepared.dense[self._metric.name]
        return {
            name: [(sparsity, 1 - self._metric.drop(value, dense)) for sparsity, value in curve]
            for name, curve in prepared.sensitivity.items()
        }

    def _ready(self) -> tuple[Prepared, Walk, Agent]:
        if self._prepared is None or self._walk is None or self._agent is None:
            raise UserError(UNPREPARED)
        return self._prepared, self._walk, self._agent

    def _target(self, walk: Walk, number: int) -> float:
        """Return an episode's target: the fixed one, or one of the reachable sizes, log-uniform and evenly spread."""
        if self.settings.target is not None:
            return self.settings.target
        low, high = walk.reachable
        start = np.random.default_rng(self.settings.seed).uniform()
        share = (start + number * GOLDEN) % 1  # the multiples of the golden ratio fill every gap in turn
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))

    def _explore(self, walk: Walk, agent: Agent, target: float, noise: float | None) -> dict[str, float]:
        """Walk with truncated normal noise around the agent's actions, or by random actions if ``noise`` is None."""
        rng = np.random.default_rng([self.settings.seed, self._state.walks])
        self._state.walks += 1

        def act(state: np.ndarray) -> float:
            if noise is None:
                return float(rng.uniform(-1, 1))
            best = agent.act(state)
            while not -1 <= (action := best + 2 * noise * float(rng.normal())) <= 1:
                pass
            return action

        return walk.go(target, act)

    def _take(self, episode: Episode | None, parameters: Mapping[str, Any], metrics: Metrics | None) -> None:
        prepared, walk, agent = self._ready()
        quality = None if metrics is None else metrics.get(self._metric.name)
        if metrics is None or quality is None or not _finite(quality):
            if metrics is not None:
                _log.warning("a trial reported %s: no finite number as its %s", metrics, self._metric.noun)
            self._state.failed.append(dict(parameters))
            self._store.save(self._state)
            return
        sparsity = self._sparsity(parameters)
        if episode is None:  # a result of another search
            episode = Episode(dict(parameters), walk.fraction(sparsity), 0.0, False)
        dense = prepared.dense[self._metric.name]
        episode.quality, episode.macs = float(quality), float(metrics.get("macs", walk.macs(sparsity)))
        episode.reward = self._metric.gain(episode.quality, dense) - 1
        self._state.episodes.append(episode)
        number = len(self._state.episodes) - 1
        self._learn(number, episode.target)
        if self.settings.target is None:
            self._learn(number, None)
        networks = None
        if number + 1 >= self.settings.warmup:
            agent.train(number + 1 - self._state.trained)
            self._state.trained = number + 1
            networks = agent.to_bytes()
        self._store.save(self._state, networks)

    def _learn(self, number: int, target: float | None) -> None:
        """Remember an episode as a walk to ``target``; to the size that it really has if None."""
        prepared, walk, agent = self._ready()
        episode = self._state.episodes[number]
        sparsity = self._sparsity(episode.parameters)
        curves = tied_curves(self._curves(prepared), prepared.sizes, walk.grid) if self.settings.shaping else {}
        assert episode.quality is not None  # only what was judged is learnt from
        drop = self._metric.drop(episode.quality, prepared.dense[self._metric.name])
        kept = {name: walk.nearest(name, sparsity.get(name, 0.0)) for name in walk.grid}
        losses = [predicted_loss(curves.get(name, ()), level) for name, level in kept.items()]
        rewards = [-loss / UNIT for loss in losses]
        rewards[-1] += (sum(losses) - drop) / UNIT
        agent.remember(walk.retrace(sparsity, target), rewards)
        self._state.lessons.append((number, target))

    def _running(self, parameter_id: str, parameters: Mapping[str, Any]) -> Episode | None:
        """Return the episode of a trial and take it off the list; by its parameters if a killed tuner began it."""
        if parameter_id in self._state.running:
            return self._state.running.pop(parameter_id)
        wanted = self._key(parameters)
        for name, episode in self._state.running.items():
            if self._key(episode.parameters) == wanted:
                return self._state.running.pop(name)
        return None

    def _is_ours(self, parameters: Mapping[str, Any]) -> bool:
        fixed = renamed({**self._fixed, **parameters}).items() >= renamed(self._fixed).items()
        groups = {name for name in parameters if name.startswith(PREFIX)}
        whole = set(parameters) - groups <= set(self._fixed)
        return fixed and whole and groups == {name for name in self._space if name.startswith(PREFIX)}

    def _parameters(self, sparsity: Mapping[str, float]) -> dict[str, Any]:
        fixed = {name: value for name, value in self._fixed.items() if name in self._space}
        return {**fixed, **{PREFIX + name: value for name, value in sparsity.items()}}

    def _sparsity(self, parameters: Mapping[str, Any]) -> dict[str, float]:
        return {name.removeprefix(PREFIX): v for name, v in parameters.items() if name.startswith(PREFIX)}

    def _key(self, parameters: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
        return tuple(sorted((name, round(v, 6)) for name, v in self._sparsity(parameters).items()))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
