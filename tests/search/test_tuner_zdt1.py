"""A search of ZDT1 (Zitzler, Deb & Thiele 2000), whose front is known, against a search by chance."""

import math

import pytest
from scipy.stats import mannwhitneyu

from autoprune.results.pareto import hypervolume
from autoprune.search.tuners.optuna.tuner import OptunaTuner

NAMES = [f"sparsity.x{i}" for i in range(5)]
SPACE = {name: {"_type": "uniform", "_value": [0.0, 0.99]} for name in NAMES}
WORST = 11


def zdt1(parameters) -> tuple[float, float]:
    """Return the two values to be minimised: the first in [0, 1), the second below WORST; at best 1 - sqrt(first)."""
    first, *others = (parameters[name] for name in NAMES)
    g = 1 + 9 * sum(others) / len(others)
    return first, g * (1 - math.sqrt(first / g))


def volume(folder, sampler, seed, trials) -> float:
    tuner = OptunaTuner(sampler=sampler, seed=seed, rungs=False, storage=str(folder / f"{sampler}-{seed}.journal"))
    tuner.update_search_space(SPACE)
    points = []
    for i in range(trials):
        parameters = tuner.ask(i)
        first, second = zdt1(parameters)
        points.append((first, WORST - second))
        tuner.tell(i, parameters, {"accuracy": -second, "macs": first})
    return hypervolume(points)


@pytest.mark.parametrize("sampler, trials", [("tpe", 50), pytest.param("nsga2", 150, marks=pytest.mark.slow)])
def test_the_tuner_beats_chance_by_hypervolume_over_ten_seeds(tmp_path, sampler, trials):
    searched = [volume(tmp_path, sampler, seed, trials) for seed in range(10)]
    by_chance = [volume(tmp_path, "random", seed, trials) for seed in range(10)]
    assert mannwhitneyu(searched, by_chance, alternative="greater").pvalue < 0.01
