"""A problem whose best answer is known: a chain of layers that mind their pruning very differently."""

import itertools
import math

import numpy as np

from autoprune.results.candidate import PREFIX
from autoprune.results.prepared import Prepared
from autoprune.results.size_model import SizeModel, Term

DENSE = 0.95


class Layers:
    """A chain of convolutions, the accuracy lost in them additive, with weights that differ up to fifty times.

    Args:
        seed: of the weights.
        groups: layers.
    """

    def __init__(self, seed: int = 0, groups: int = 5) -> None:
        rng = np.random.default_rng(seed)
        channels = sorted(int(c) for c in rng.choice([32, 64, 128], groups))
        self.names = [f"g{i}" for i in range(groups)]
        terms, before = [], 3
        for i, (name, count) in enumerate(zip(self.names, channels, strict=True)):
            dims = ({name: 1.0}, {self.names[i - 1]: 1.0}) if i else ({name: 1.0},)
            elements = count * before * 9
            terms.append(Term(elements, elements * 1024 / 4 ** (i * 3 // groups), dims))
            before = count
        terms.append(Term(before * 10, before * 10, ({self.names[-1]: 1.0},)))
        self.sizes = SizeModel(dict(zip(self.names, channels, strict=True)), tuple(terms))
        self.space = {PREFIX + name: {"_type": "quniform", "_value": [0.0, 0.75, 0.125]} for name in self.names}
        self._weights = np.exp(rng.uniform(math.log(0.01), math.log(0.5), groups))
        self._powers = rng.uniform(1, 3, groups)

    @property
    def prepared(self) -> Prepared:
        probes = {n: [(r, self.judge({PREFIX + n: r})["accuracy"]) for r in (0, 0.25, 0.5, 0.75)] for n in self.names}
        return Prepared({"accuracy": DENSE}, self.sizes, probes)

    def fraction(self, parameters, size="macs") -> float:
        sparsity = {name: parameters.get(PREFIX + name, 0.0) for name in self.names}
        return self.sizes.sizes(sparsity)[size] / self.sizes.sizes({})[size]

    def judge(self, parameters) -> dict:
        sparsity = np.array([parameters.get(PREFIX + name, 0.0) for name in self.names])
        accuracy = max(0.1, DENSE - float(np.sum(self._weights * sparsity**self._powers)))
        macs = self.sizes.sizes(dict(zip(self.names, sparsity, strict=True)))["macs"]
        return {"accuracy": accuracy, "macs": macs, "default": accuracy}

    def optimum(self, target: float) -> float:
        """Return the best accuracy at a target, by trying every candidate."""
        keys = list(self.space)
        grid = [i * 0.125 for i in range(7)]
        every = (dict(zip(keys, values, strict=True)) for values in itertools.product(grid, repeat=len(keys)))
        return max(self.judge(each)["accuracy"] for each in every if self.fraction(each) <= target)
