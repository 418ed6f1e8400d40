"""What earlier versions called otherwise, in search spaces, commands, tasks and results, is still understood."""

from dataclasses import replace

import pytest
import torch
from problem import SPACE, judge, prepared
from tiny import make_task

from autoprune.errors import UserError
from autoprune.prune.schedules import SCHEDULES
from autoprune.results import baselines
from autoprune.results.candidate import Candidate
from autoprune.results.settings import TrialCommand
from autoprune.search import AmcTuner
from autoprune.search.tuners.optuna.tuner import OptunaTuner
from autoprune.task.task import Task

OLD, NEW = ({"_type": "choice", "_value": [name, "one_shot"]} for name in ("shared", "supernet"))
POINT = {"criterion": "l1_norm", "sparsity.a": 0.5, "sparsity.b": 0.25, "sparsity.c": 0.0}


def test_the_schedule_is_found_by_either_name_and_listed_by_the_present_one():
    assert SCHEDULES["shared"] is SCHEDULES["supernet"]
    assert "shared" in SCHEDULES
    assert "shared" not in list(SCHEDULES)
    with pytest.raises(UserError, match="unknown schedule 'shard'"):
        SCHEDULES["shard"]


def test_a_candidate_says_the_present_name():
    assert Candidate(schedule="shared").to_parameters()["schedule"] == "supernet"
    assert Candidate.from_parameters({"schedule": "shared"}) == Candidate(schedule="supernet")


@pytest.mark.parametrize("entry", [OLD, NEW], ids=["old", "new"])
def test_a_search_space_of_either_name_has_its_supernet_prepared(entry):
    (first,) = baselines.preparations("autoprune trial digits", {"schedule": entry})
    assert first["schedule"] == "supernet"


@pytest.mark.parametrize("option", ["--shared-steps", "--supernet-steps"])
def test_the_command_takes_either_option_and_writes_the_present_one(option):
    command = TrialCommand.parse(f"autoprune trial digits {option} 5")
    assert command.supernet_steps == 5
    assert command.to_words() == ["autoprune", "trial", "digits", "--supernet-steps", "5"]


def test_a_task_takes_either_name():
    task = Task("t", torch.nn.Identity, lambda: None, torch.zeros(1, 1), shared_steps=7)
    assert task.supernet_steps == 7
    assert replace(task, name="u").supernet_steps == 7
    assert replace(task, supernet_steps=8).supernet_steps == 8
    assert make_task()[0].supernet_steps is None


@pytest.mark.parametrize(("entry", "own", "other"), [(OLD, "shared", "supernet"), (NEW, "supernet", "shared")])
def test_a_tuner_tries_first_and_remembers_what_has_either_name(tmp_path, entry, own, other):
    storage = str(tmp_path / "study.journal")
    tuner = OptunaTuner(storage=storage)
    tuner.update_search_space(SPACE | {"schedule": entry})
    tuner.prepare([prepared([POINT | {"schedule": other}])])
    asked = tuner.ask(0)
    assert asked == POINT | {"schedule": own, "budget": 0.0}
    tuner.tell(0, asked, judge(asked))

    resumed = OptunaTuner(storage=storage)
    resumed.update_search_space(SPACE | {"schedule": entry})
    results = [
        (POINT | {"schedule": name, "budget": 0.0, "sparsity.a": a}, judge(POINT))
        for name, a in [(own, 0.5), (other, 0.5), (other, 0.25)]
    ]
    resumed.resume(results)
    assert [trial.params["sparsity.a"] for trial in resumed.study.trials] == [0.5, 0.25]
    assert {trial.params["schedule"] for trial in resumed.study.trials} == {own}


def test_the_rl_tuner_learns_from_results_of_the_former_name():
    tuner = AmcTuner(target=0.5, warmup=2)
    tuner.update_search_space({name: SPACE[name] for name in SPACE if "sparsity" in name} | {"schedule": NEW})
    tuner.prepare([prepared()])
    point = {name: value for name, value in POINT.items() if name != "criterion"}
    tuner.resume([(point | {"schedule": "shared"}, judge(point)), (point | {"schedule": "agp"}, judge(point))])
    assert len(tuner.episodes) == 1
