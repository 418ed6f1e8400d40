"""A search from Python: ten lines, no manager, the same front each time, and failures that do not end it."""

import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner

import autoprune
from autoprune.api import search as api
from autoprune.errors import UserError
from autoprune.nni.tuners import NniTuner
from autoprune.report import waiting
from autoprune.report.learning import read_episodes
from autoprune.report.progress import best_so_far
from autoprune.report.rows import front_rows
from autoprune.results.candidate import Candidate
from autoprune.search import AmcTuner
from autoprune.train import evaluation
from autoprune.trial.estimate import Estimate
from autoprune.trial.plan import Plan

SPACE = {
    "sparsity.down.0": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]},
    "sparsity.hidden": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]},
}


def search(task, **options):
    return autoprune.run_search(task, **{"trials": 4, "space": SPACE, "baselines": False, "seed": 3} | options)


@pytest.fixture(scope="module")
def result(digits):
    return search(digits[0])


def test_a_search_gives_a_front_of_smaller_models_whose_accuracy_is_theirs(result, digits):
    assert len(result.candidates) == 4
    front = result.front()
    accuracies, sizes = ([t.metrics[name] for t in front] for name in ("accuracy", "macs"))
    assert accuracies == sorted(accuracies, reverse=True)
    assert sizes == sorted(sizes, reverse=True)
    model = result.model(front[-1])
    assert sum(p.numel() for p in model.parameters()) == front[-1].metrics["params"] < result.dense["params"]
    assert evaluation.quality(digits[0], model, digits[1].validation) == front[-1].metrics["accuracy"]


def test_the_same_call_gives_the_same_front(result, digits):
    again = search(digits[0])
    assert again.folder != result.folder
    assert [t.parameters for t in again.trials] == [t.parameters for t in result.trials]
    assert [(t.metrics["accuracy"], t.metrics["macs"]) for t in again.front()] == [
        (t.metrics["accuracy"], t.metrics["macs"]) for t in result.front()
    ]


def test_another_seed_proposes_other_candidates(result, digits):
    other = search(digits[0], seed=4, trials=2)
    assert [t.parameters for t in other.trials] != [t.parameters for t in result.trials[:2]]


def test_rules_choose_and_the_report_shows_it(result, tmp_path):
    chosen = result.choose("params<=40k")
    assert chosen.metrics["params"] <= 40_000
    assert result.choose(chosen.id).id == chosen.id
    page = result.report(tmp_path / "report.html").read_text()
    assert all(trial.id in page for trial in result.front())
    with pytest.raises(autoprune.UserError, match="no trial satisfies params<=1"):
        result.choose("params<=1")


def test_baselines_run_first_and_are_compared_with(digits):
    quick = replace(digits[0], training=replace(digits[0].training, steps=5))
    result = search(quick, trials=1, baselines=True)
    assert {name: len(trials) for name, trials in result.baselines.items()} == {"lottery_ticket": 3, "l1_filter": 3}
    assert [t.baseline for t in result.trials] == ["dense"] + ["l1_filter"] * 3 + ["lottery_ticket"] * 3 + [None]
    assert {"above_l1_filter", "above_lottery_ticket"} <= set(result.trials[-1].metrics)
    assert len(front_rows(result)) == 1 + 1 + 6


def test_a_failed_trial_is_recorded_and_the_search_goes_on(digits):
    task = replace(digits[0], training=replace(digits[0].training, steps=20))
    task = replace(task, recovery=replace(task.recovery, learning_rate=1e12, steps=100))
    space = {
        "criterion": {"_type": "choice", "_value": ["level"]},
        "schedule": {"_type": "choice", "_value": ["one_shot", "lottery_ticket"]},  # the second needs no recovery
        "sparsity": {"_type": "choice", "_value": [0.5]},
    }
    seen = []
    result = search(task, space=space, sampler="random", trials=5, warm_start=False, on_trial=seen.append)
    schedules = {trial.parameters["schedule"]: trial.succeeded for trial in result.trials}
    assert schedules == {"one_shot": False, "lottery_ticket": True}
    assert all("the loss became" in trial.reason for trial in result.failed)
    assert seen == result.trials


def test_an_interrupt_keeps_what_was_found(digits):
    def stop(trial):
        if not trial.baseline:
            raise KeyboardInterrupt

    assert len(search(digits[0], trials=1000, on_trial=stop).candidates) == 1


def test_latency_can_be_an_objective(digits):
    result = search(digits[0], objectives=("accuracy", "latency_ms"), latency_batch=16, trials=3)
    latencies = [trial.metrics["latency_ms"] for trial in result.front()]
    assert latencies == sorted(latencies, reverse=True)
    assert result.settings.latency_batch == 16
    assert all(t.record["dense"]["latency_ms"] == result.dense["latency_ms"] for t in result.trials)


def test_a_folder_keeps_a_search_and_is_not_written_over(digits, tmp_path):
    result = search(digits[0], trials=1, folder=tmp_path / "kept")
    assert torch.load(result.trials[0].model_file, weights_only=True)
    assert result.trials[0].folder.is_relative_to(tmp_path)
    with pytest.raises(autoprune.UserError, match="holds a search already"):
        search(digits[0], folder=tmp_path / "kept")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"task": "digitz"}, "unknown task 'digitz': did you mean digits"),
        ({"trials": 0}, "trials must be at least 1, not 0"),
        ({"sampler": "nsga"}, "unknown sampler 'nsga': use nsga3, nsga2"),
        ({"objectives": ("accuracy", "size")}, "unknown objective 'size'"),
        ({"space": {"sparsity.hiden": SPACE["sparsity.hidden"]}}, "no group 'hiden'"),
        ({"latency_runtime": "tflite"}, "unknown runtime 'tflite'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(digits, options, message):
    with pytest.raises(autoprune.UserError, match=message):
        search(**{"task": digits[0]} | options)


def test_importing_autoprune_does_not_load_torch():
    code = "import sys, autoprune; assert 'torch' not in sys.modules; assert 'nni' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_answer_keeps_within_the_constraints(digits):
    result = search(digits[0], trials=6, constraints=("macs<=400k",), space=None)
    assert result.front() and all(trial.measures["macs"] <= 400e3 for trial in result.front())
    with pytest.raises(UserError, match="macs<=1"):
        search(digits[0], trials=2, constraints=("macs<=1",), space=None)


def test_beside_a_checkpoint_lottery_tickets_need_its_initial_weights(digits, tmp_path, capsys):
    task, _, trained = digits
    torch.save(trained.model.state_dict(), tmp_path / "mine.pt")
    torch.save(trained.initial, tmp_path / "first.pt")
    how = {"checkpoint": tmp_path / "mine.pt", "trials": 1, "warm_start": False}
    result = search(task, baselines=True, **how)
    assert {trial.baseline for trial in result.trials} == {"l1_filter", None}
    assert "above_lottery_ticket" not in result.candidates[0].metrics
    assert "Baseline lottery_ticket left out" in result.report(tmp_path / "report.html").read_text()
    result.show()
    assert "Baseline lottery_ticket left out" in capsys.readouterr().out
    space = SPACE | {"schedule": {"_type": "choice", "_value": ["one_shot", "lottery_ticket_late"]}}
    data = replace(task, data=lambda: pytest.fail("began"))
    with pytest.raises(UserError, match="schedule lottery_ticket_late needs the weights before training"):
        search(data, space=space, **how)
    result = search(task, space=space, initial=tmp_path / "first.pt", **how)
    assert not result.failed


def run_example(file, digits, monkeypatch) -> dict:
    """Run the first example of docs/FILE that has a tuner, on a dense model that is trained already."""
    blocks = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / file).read_text(), re.DOTALL)
    example = next(block for block in blocks if "tuner=" in block)
    monkeypatch.setattr(api, "load_task", lambda name: digits[0])
    names = {"__name__": "example"}
    exec(example, names)
    return names


def test_a_tuner_of_one_s_own_drives_the_search(digits, monkeypatch, capsys):
    result = run_example("python.md", digits, monkeypatch)["result"]
    assert [set(trial.parameters.values()) for trial in result.candidates] == [{0.25}, {0.5}, {0.75}]
    told = [f"{i} {trial.metrics['accuracy']}" for i, trial in enumerate(result.candidates)]
    assert capsys.readouterr().out.splitlines()[-3:] == told
    assert result.front()
    assert result.config["tuner"]["className"] == "example.Ladder"


def test_the_answer_keeps_within_the_constraints_whatever_the_tuner(digits):
    space = {"sparsity.hidden": {"_type": "choice", "_value": [0.0, 0.25, 0.5, 0.75]}}
    tuner = NniTuner(GridSearchTuner())
    options = {"space": space, "trials": 9, "warm_start": False, "constraints": ("params<=45k",)}
    result = search(digits[0], tuner=tuner, **options)
    assert sorted(trial.parameters["sparsity.hidden"] for trial in result.candidates) == [0.0, 0.25, 0.5, 0.75]
    assert result.front() and all(trial.measures["params"] <= 45e3 for trial in result.front())


def test_amc_is_driven_from_python_and_leaves_global_generators_as_they_were(digits, monkeypatch):
    before = next_draws()
    names = run_example("rl.md", digits, monkeypatch)
    result, tuner = names["result"], names["tuner"]
    assert not result.failed
    assert [episode.quality for episode in tuner.episodes] == [t.metrics["accuracy"] for t in result.candidates]
    assert all(t.metrics["macs"] <= 0.25 * result.dense["macs"] for t in result.candidates)
    assert next_draws() == before


def test_a_tuner_that_is_named_keeps_its_state_in_the_search_s_folder(digits):
    named = search(digits[0], tuner="amc", trials=2)
    assert len(read_episodes(named)) == len(named.candidates) == 2
    assert named.config["tuner"]["className"] == "autoprune.search.AmcTuner"


def next_draws() -> tuple[float, float, float]:
    """Return what the global generators would draw next."""
    python, numpy, here = random.getstate(), np.random.get_state(), torch.get_rng_state()
    drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(here)
    return drawn


@pytest.mark.parametrize(
    "options, message",
    [
        ({"tuner": "acm"}, "unknown tuner 'acm': use amc"),
        ({"tuner": object()}, r"tuner must be one of optuna, amc or an autoprune.search.Tuner.*wrap one of NNI's"),
        ({"tuner": "amc", "sampler": "nsga2"}, "sampler and rungs are OptunaTuner's"),
        ({"tuner": "amc", "warm_start": False}, "the RL tuner needs the preparation"),
        ({"tuner": AmcTuner(), "warm_start": False}, "the RL tuner needs the preparation"),
    ],
)
def test_a_wrong_tuner_is_refused_before_anything_runs(digits, options, message):
    task = replace(digits[0], data=lambda: pytest.fail("began"))
    with pytest.raises(UserError, match=message):
        search(task, **options)


def test_a_search_shows_how_far_it_is_and_the_best_so_far(digits, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "EVERY", 0)
    quick = {
        "trials": 2,
        "warm_start": False,
        "rungs": False,
        "space": SPACE | {"schedule": {"_type": "choice", "_value": ["one_shot"]}},
    }
    search(digits[0], **quick)
    assert capsys.readouterr().err == ""  # nobody is there to see it
    result = search(digits[0], **quick, progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"Searching {digits[0].name}: ")]
    assert "trial 0 of 2, training step 0 of 20" in lines[1]
    assert any("training step" in line and "loss 0." in line for line in lines)
    best = best_so_far(replace(result, trials=result.trials[:1]))
    assert best and any(f"trial 1 of 2, {best}" in line for line in lines)


def test_the_result_prints_and_draws_itself(result):
    first = result.front()[0]
    text = str(result)
    assert "Pareto front of accuracy and macs" in text and first.id in text
    html = result._repr_html_()
    assert html.count("<svg") == 1 and "http://" not in re.sub(
        r"http://www\.w3\.org|http://purl|http://creative", "", html
    )
    assert f"<td>{first.id}</td>" in html and "dense" in html
    assert text != html and "SearchResult(" in repr(result)


def test_a_search_plans_with_the_time_that_it_is_given(digits, monkeypatch):
    planned = Plan(9, 3.0, 5, 60.0, Estimate({}, 0.0))
    monkeypatch.setattr(api, "planned_for", lambda *_: planned)
    monkeypatch.setattr(api, "until", lambda end: range(14))
    result = search(digits[0], trials=1, budget="1m", space=None)
    trained = [trial.parameters["budget"] for trial in result.candidates if trial.parameters.get("budget")]
    assert len(result.candidates) == 14 and trained and set(trained) == {3.0}
    parents = {trial.parameters.get("parent") for trial in result.candidates} - {None}
    assert parents <= {Candidate.from_parameters(trial.parameters).id for trial in result.candidates}
    assert result.dense and not result.failed


def test_a_time_in_which_nothing_can_be_searched_is_refused_before_anything_is_trained(digits, tmp_path):
    with pytest.raises(UserError, match="--budget 1 s is too short for a search of digits"):
        search(digits[0], budget=1, space=None, folder=tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_a_time_that_is_none_is_refused(digits):
    with pytest.raises(UserError, match="a duration is written as"):
        search(digits[0], budget="soon")
