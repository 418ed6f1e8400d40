"""What is offered as the answer keeps within the search's constraints."""

import json
import random

import pytest

from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.limits import satisfies

DENSE = {"accuracy": 0.95, "params": 1000, "macs": 10_000, "bytes": 4000, "latency_ms": 3.0}


def make(folder, constraints, results) -> Experiment:
    (folder / "result.json").write_text(json.dumps({"dense": DENSE}))
    trials = [
        Trial(f"t{i}", i, {}, "SUCCEEDED", DENSE | {"accuracy": accuracy, "macs": macs}, None, folder, 0, 1)
        for i, (accuracy, macs) in enumerate(results)
    ]
    return Experiment("abc", folder, {"tuner": {"classArgs": {"constraints": constraints}}}, trials)


def test_the_front_and_the_chosen_model_keep_within_the_constraints(tmp_path):
    rng, offered = random.Random(0), 0
    for _ in range(200):
        constraints = [f"drop<={rng.choice([1, 5, 20])}%", f"macs<={rng.choice([1000, 3000, 8000])}"]
        results = [(round(rng.uniform(0.7, 0.96), 3), rng.randrange(100, 10_000)) for _ in range(20)]
        experiment = make(tmp_path, constraints, results)
        front = experiment.front()
        assert all(satisfies(experiment.constraints, trial.metrics, DENSE) for trial in front)
        for rule in (None, "knee", "macs<=5k", "drop<=10%"):
            try:
                chosen = choose_trial(experiment, rule)[0]
            except UserError:
                continue
            assert satisfies(experiment.constraints, chosen.metrics, DENSE)
            offered += 1
    assert offered > 100


def test_a_result_within_the_constraints_is_offered_though_one_beyond_them_dominates_it(tmp_path):
    experiment = make(tmp_path, ["macs<=2k", "drop<=10%"], [(0.94, 2500), (0.90, 2000), (0.80, 100)])
    assert [trial.id for trial in experiment.front()] == ["t1"]


@pytest.mark.parametrize(
    "constraints, message",
    [
        (["macs<=50"], r"no trial satisfies the constraint macs<=50 \(the nearest has macs 100\)"),
        (["drop<=1%"], r"constraint drop<=1% \(the nearest has accuracy 0.92\)"),
        (["drop<=4%", "macs<=1k"], r"satisfies all the constraints at once \(drop<=4%, macs<=1k\)"),
    ],
)
def test_when_nothing_keeps_within_them_it_is_said_which_constraint_stands_in_the_way(tmp_path, constraints, message):
    experiment = make(tmp_path, constraints, [(0.92, 5000), (0.80, 100)])
    assert experiment.front() == []
    for rule in (None, "knee"):
        with pytest.raises(UserError, match=message):
            choose_trial(experiment, rule)


def test_a_search_without_constraints_offers_its_whole_front(tmp_path):
    assert len(make(tmp_path, None, [(0.92, 5000), (0.80, 100)]).front()) == 2
