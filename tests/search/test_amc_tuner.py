"""The RL tuner on a problem whose best answer is known."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from autoprune.errors import UserError
from autoprune.results.candidate import PREFIX
from autoprune.search import AmcTuner
from autoprune.search.tuners.amc.store import CURVE
from autoprune.search.tuners.amc.walk import Walk

sys.path.insert(0, str(Path(__file__).parent))
from layers import Layers  # noqa: E402


def make(folder, problem, prepare=True, **arguments) -> AmcTuner:
    tuner = AmcTuner(storage=str(folder), **arguments)
    tuner.update_search_space(problem.space)
    if prepare:
        tuner.prepare([problem.prepared])
    return tuner


def search(tuner, problem, trials) -> list:
    proposed = []
    for i in trials:
        parameters = tuner.ask(i)
        tuner.tell(i, parameters, problem.judge(parameters))
        proposed.append(parameters)
    return proposed


def curve(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / CURVE).read_text().splitlines()]


@pytest.mark.parametrize("size", ["macs", "params"])
def test_every_walk_meets_its_target_whatever_the_actions(size):
    problem, rng = Layers(), np.random.default_rng(0)
    walk = Walk(problem.sizes, problem.space, problem.prepared.sensitivity, size)
    for target in np.geomspace(walk.reachable[0], 1.0, 40):
        for act in (lambda s: rng.uniform(-1, 1), lambda s: -1.0, lambda s: 1.0, lambda s: rng.choice([-1, 1])):
            assert walk.fraction(walk.go(float(target), act)) <= target * (1 + 1e-6)


def test_a_target_below_the_space_takes_all_that_the_space_allows():
    problem = Layers()
    walk = Walk(problem.sizes, problem.space, {})
    assert set(walk.go(1e-6, lambda state: -1.0).values()) == {0.75}


def test_a_walk_never_asks_for_more_than_the_target():
    """The best candidate of a target is within reach, and one that prunes more than needed is not."""
    problem = Layers()
    walk = Walk(problem.sizes, problem.space, {})
    assert set(walk.go(1.0, lambda state: 1.0).values()) == {0.0}
    rng = np.random.default_rng(0)
    found = max(
        problem.judge({PREFIX + n: v for n, v in walk.go(0.3, lambda s: rng.uniform(-1, 1)).items()})["accuracy"]
        for _ in range(3000)
    )
    assert found == pytest.approx(problem.optimum(0.3), abs=0.01)


def test_a_walk_is_retraced_to_the_size_that_it_reached():
    problem, rng = Layers(), np.random.default_rng(0)
    walk = Walk(problem.sizes, problem.space, {})
    for target in (0.2, 0.4, 0.8):
        taken = walk.go(target, lambda state: rng.uniform(-1, 1))
        steps = iter(walk.retrace(taken))
        assert walk.go(walk.fraction(taken), lambda state: next(steps).action) == taken  # noqa: B023


def test_states_and_actions_are_normalised():
    problem, rng = Layers(), np.random.default_rng(0)
    walk = Walk(problem.sizes, problem.space, problem.prepared.sensitivity)
    for target in (0.05, 0.3, 1.0):
        for step in walk.retrace(walk.go(target, lambda state: rng.uniform(-1, 1)), target):
            assert step.state.shape == (walk.state_size,)
            assert step.state.min() >= 0
            assert step.state.max() <= 1 + 1e-6
            assert -1 <= step.action <= 1


@pytest.mark.parametrize(
    "entry, sparsities",
    [
        ({"_type": "choice", "_value": [0.5, 0.0]}, {0.0, 0.5}),
        ({"_type": "uniform", "_value": [0.0, 0.6]}, {0.0, 0.25, 0.5}),
        ({"_type": "quniform", "_value": [0.25, 0.75, 0.25]}, {0.25, 0.5, 0.75}),
    ],
)
def test_sparsities_are_those_of_the_space_that_differ_in_the_channels_kept(entry, sparsities):
    problem = Layers(groups=2)
    sizes = type(problem.sizes)({"g0": 32, "g1": 32}, problem.sizes.terms)
    walk = Walk(sizes, {PREFIX + "g0": entry}, {})
    rng = np.random.default_rng(0)
    seen = {walk.go(t, lambda state: rng.uniform(-1, 1))["g0"] for t in np.geomspace(0.1, 1, 30)}
    assert seen == sparsities


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, 0.3])
def test_the_agent_beats_its_own_random_policy_and_comes_close_to_the_optimum(tmp_path, target):
    gains, distances = [], []
    for seed in range(2):
        problem = Layers(seed)
        tuner = make(tmp_path / str(seed), problem, target=target, seed=seed)
        search(tuner, problem, range(40))
        for goal in (0.2, 0.3, 0.5) if target is None else (target,):
            best = problem.optimum(goal)
            learnt = problem.judge(tuner.propose(goal))["accuracy"]
            random = np.mean([problem.judge(tuner.propose_random(goal, i))["accuracy"] for i in range(40)])
            gains.append(learnt - random)
            distances.append((best - learnt) / (best - random))
    assert np.mean(gains) > 0.02
    assert np.mean(distances) < 0.5


def test_no_candidate_is_proposed_twice_and_all_are_of_the_space(tmp_path):
    problem = Layers()
    proposed = search(make(tmp_path, problem, target=0.3, warmup=5), problem, range(25))
    assert len({json.dumps(each) for each in proposed}) == 25
    for each in proposed:
        assert set(each) == set(problem.space)
        assert all(math.isclose(v / 0.125, round(v / 0.125)) and 0 <= v <= 0.75 for v in each.values())
        assert problem.fraction(each) <= 0.3


def test_targets_of_the_whole_front_are_spread_over_the_reachable_sizes(tmp_path):
    problem = Layers()
    tuner = make(tmp_path, problem, warmup=50)
    search(tuner, problem, range(20))
    low = Walk(problem.sizes, problem.space, {}).reachable[0]
    shares = np.sort([math.log(e.target / low) / math.log(1 / low) for e in tuner.episodes])
    assert np.diff(shares).max() < 0.15


def test_several_trials_at_once_are_told_apart_by_their_ids(tmp_path):
    problem = Layers()
    tuner = make(tmp_path, problem)
    running = {i: tuner.ask(i) for i in range(4)}
    assert len({json.dumps(each) for each in running.values()}) == 4
    for i in (2, 0, 3, 1):
        tuner.tell(i, running[i], problem.judge(running[i]))
    assert [e.parameters for e in tuner.episodes] == [running[i] for i in (2, 0, 3, 1)]
    assert all(e.quality == problem.judge(e.parameters)["accuracy"] for e in tuner.episodes)


def test_the_first_of_several_criteria_and_schedules_is_taken(tmp_path):
    problem = Layers()
    problem.space = {
        "criterion": {"_type": "choice", "_value": ["fpgm", "l1_norm"]},
        "schedule": {"_type": "choice", "_value": ["supernet"]},
    } | problem.space
    parameters = make(tmp_path, problem).ask(0)
    assert (parameters["criterion"], parameters["schedule"]) == ("fpgm", "supernet")


@pytest.mark.parametrize("value", [{"accuracy": math.nan}, {"macs": 1.0}, {"default": 0.9}, None])
def test_a_result_without_an_accuracy_is_a_failed_trial_not_a_crash(tmp_path, value):
    problem = Layers()
    tuner = make(tmp_path, problem)
    failed = tuner.ask(0)
    tuner.tell(0, failed, value)
    lost = tuner.ask(1)
    tuner.tell(1, lost, None)
    proposed = search(tuner, problem, range(2, 6))
    assert len(tuner.episodes) == 4
    assert failed not in proposed
    assert lost not in proposed


def test_the_learning_curve_has_a_line_for_each_episode(tmp_path):
    problem = Layers()
    search(make(tmp_path, problem, warmup=3), problem, range(6))
    lines = curve(tmp_path)
    assert [line["episode"] for line in lines] == list(range(6))
    assert [line["random"] for line in lines] == [True] * 3 + [False] * 3
    assert lines[3]["noise"] >= lines[5]["noise"] > 0
    for line in lines:
        assert set(line) == {"episode", "reward", "quality", "macs", "target", "noise", "random"}
        assert line["reward"] == pytest.approx(line["quality"] - 1)
        assert 0 < line["target"] <= 1


def test_results_of_another_search_are_learnt_and_other_criteria_are_not(tmp_path):
    problem = Layers()
    tuner = make(tmp_path, problem, prepare=False)
    ours = dict.fromkeys(problem.space, 0.25)
    entries = [(each, problem.judge(ours)) for each in (ours, ours, ours | {"criterion": "fpgm"})]
    tuner.resume(entries)
    tuner.prepare([problem.prepared])
    assert [e.parameters for e in tuner.episodes] == [ours]
    assert tuner.episodes[0].target == pytest.approx(problem.fraction(ours))


KILLED = """
import sys, time, json
from test_amc_tuner import Layers, make
problem = Layers()
tuner = make(sys.argv[1], problem, warmup=4)
number = 0
while True:
    pair = {i: tuner.ask(i) for i in (number, number + 1)}  # two at once
    for i, parameters in pair.items():
        value = problem.judge(parameters)
        print(json.dumps({"parameter": parameters, "value": value}), flush=True)
        tuner.tell(i, parameters, value)
        print("learnt", flush=True)
    number += 2
"""


def test_a_killed_tuner_loses_no_trial_and_repeats_none(tmp_path):
    problem = Layers()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    finished = []
    for line in process.stdout:
        if line.startswith("{"):
            finished.append(json.loads(line))
        if len(finished) == 9:  # of a pair, one was reported and one runs; perhaps in the middle of a file
            time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            break
    finished += [json.loads(line) for line in process.stdout if line.startswith("{")]
    process.wait()

    tuner = make(tmp_path, problem, prepare=False, warmup=4)
    known = [e.parameters for e in tuner.episodes]
    assert len(finished) - 1 <= len(known) <= len(finished)
    interrupted = [each.parameters for each in tuner._state.running.values()]
    # NNI gives what had finished, before the preparation is read ...
    tuner.resume([(each["parameter"], each["value"]) for each in finished])
    tuner.prepare([problem.prepared])
    assert [e.parameters for e in tuner.episodes] == [each["parameter"] for each in finished]
    fresh = tuner.ask(1)  # ... asks on, perhaps by an id that was given before ...
    assert fresh not in [each["parameter"] for each in finished]
    assert fresh not in interrupted
    for each in interrupted:  # ... and runs the interrupted ones again
        tuner.resume([(each, problem.judge(each))])
    tuner.tell(1, fresh, problem.judge(fresh))
    proposed = [e.parameters for e in tuner.episodes] + search(tuner, problem, range(50, 54))
    assert len({json.dumps(each, sort_keys=True) for each in proposed}) == len(proposed)
    assert all(each in proposed for each in interrupted)
    assert [line["episode"] for line in curve(tmp_path)] == list(range(len(proposed)))


def test_a_restarted_agent_acts_as_it_did(tmp_path):
    problem = Layers()
    first = make(tmp_path, problem, warmup=4)
    search(first, problem, range(8))
    again = make(tmp_path, problem, warmup=4)
    assert [again.propose(t) for t in (0.2, 0.4, 0.6)] == [first.propose(t) for t in (0.2, 0.4, 0.6)]
    assert again._agent._model.replay_buffer.size() == first._agent._model.replay_buffer.size()


def test_the_same_seed_proposes_the_same_points(tmp_path):
    problem = Layers()
    first, second = (search(make(tmp_path / name, problem, seed=7, warmup=4), problem, range(6)) for name in "ab")
    assert first == second


def test_a_search_that_was_not_prepared_says_so(tmp_path):
    tuner = make(tmp_path, Layers(), prepare=False)
    tuner.prepare([])
    with pytest.raises(UserError, match="without --no-warm-start"):
        tuner.ask(0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"target": 0.0}, r"target must be greater than 0, not 0.0"),
        ({"target": 1.5}, "target must be at most 1, not 1.5"),
        ({"target": "half"}, "target must be a number, not 'half'"),
        ({"size": "flops"}, "unknown size 'flops': use macs, params"),
        ({"warmup": 0}, "warmup must be at least 1, not 0"),
        ({"shaping": "no"}, "shaping must be true or false, not 'no'"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        AmcTuner(storage=str(tmp_path), **arguments)


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"block.layer1": {"_type": "choice", "_value": [0, 1]}}, "cannot decide on whole blocks: take block.layer1"),
        ({"allocation": {"_type": "choice", "_value": ["erk"]}}, "cannot decide on 'allocation'"),
        ({"sparsity.g0": {"_type": "normal", "_value": [0, 1]}}, "_type 'normal'"),
        ({"sparsity.other": {"_type": "choice", "_value": [0, 0.5]}}, "no group for sparsity.other"),
    ],
)
def test_a_space_that_the_walk_cannot_cover_is_refused(tmp_path, entry, message):
    problem = Layers()
    problem.space |= entry
    with pytest.raises(UserError, match=message):
        make(tmp_path, problem)


def test_checking_the_arguments_imports_no_torch():
    code = (
        "import sys; from autoprune.search import AmcTuner as A; A.validate(target=0.5); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_without_the_agents_library_it_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("autoprune.search.tuners.amc.tuner.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'autoprune\[rl\]'"):
        AmcTuner.validate()
