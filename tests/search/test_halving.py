"""Rungs: who is promoted, when, and that nothing is lost or repeated."""

import optuna
import pytest
from problem import SPACE, judge, prepared, search

from autoprune.search.halving import Judged, budgets, crowding_distances, domination_ranks, ranking, rung_of, to_promote
from autoprune.search.tuners.optuna.tuner import OptunaTuner

SCHEDULES = SPACE | {"schedule": {"_type": "choice", "_value": ["supernet", "gradual"]}}


def make(tmp_path, space=SPACE, **arguments) -> OptunaTuner:
    tuner = OptunaTuner(storage=str(tmp_path / "study.journal"), **arguments)
    tuner.update_search_space(space)
    tuner.prepare([prepared()])
    return tuner


def key(parameters) -> tuple:
    return tuple(sorted((name, value) for name, value in parameters.items() if name != "budget"))


def states(tuner) -> list[list[str]]:
    return [[trial.state.name for trial in study.get_trials()] for study in tuner.studies]


def test_ranks_are_fronts_one_behind_the_other():
    assert domination_ranks([(0, 2), (1, 1), (2, 0), (2, 2), (1, 1), (3, 3)]) == [0, 0, 0, 1, 0, 2]
    assert domination_ranks([]) == []


def test_the_ends_of_a_front_and_its_lonely_points_come_first():
    distances = crowding_distances([(0, 10), (1, 9), (2, 8), (9, 1), (10, 0)])
    assert distances[0] == distances[4] == float("inf")
    assert distances[2] == distances[3] > distances[1]


def test_what_violates_a_constraint_comes_after_all_that_does_not():
    found = ranking([Judged("much", (0, 0), 2.0), Judged("worst", (9, 9)), Judged("little", (5, 5), 0.1)])
    assert [each.key for each in found] == ["worst", "little", "much"]


def test_the_best_third_goes_on_once():
    judged = [Judged(i, (i, i)) for i in range(7)]
    assert to_promote(judged[:2], set()) is None
    assert to_promote(judged, set()).key == 0
    assert to_promote(judged, {0}).key == 1
    assert to_promote(judged, {0, 1}) is None
    assert to_promote(judged, {0}, reduction=4) is None


def test_a_candidate_at_its_schedule_s_last_rung_does_not_go_on():
    judged = [Judged(i, (i, i), can_rise=i > 0) for i in range(6)]
    assert to_promote(judged, set()).key == 1


def test_a_parameter_set_belongs_to_the_rung_of_its_budget():
    for schedule in ("supernet", "one_shot", "lottery_ticket"):
        for rung, budget in enumerate(budgets(schedule)):
            assert rung_of({"schedule": schedule, "budget": budget}) == rung
    assert rung_of({"schedule": "supernet"}) == 0
    assert rung_of({"schedule": "gradual"}) == 2
    assert rung_of({}, reduction=4) == 2


def test_budgets_grow_and_the_last_is_everything():
    assert budgets("supernet") == (0.0, 1.0)
    assert budgets("gradual", 4) == (0.0625, 0.25, 1.0)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes"])
def test_candidates_climb_from_budget_to_budget_and_never_run_twice_on_one(tmp_path, sampler):
    done = search(make(tmp_path, sampler=sampler), range(40))
    runs = [(key(parameters), parameters["budget"]) for parameters, _ in done]
    assert len(set(runs)) == len(runs)
    by_budget = {budget: [k for k, b in runs if b == budget] for budget in budgets("one_shot")}
    low, middle, high = by_budget.values()
    assert len(low) > len(middle) > len(high) > 0
    assert set(high) <= set(middle) <= set(low)


def test_the_promoted_are_the_best_of_their_rung(tmp_path):
    done = search(make(tmp_path, sampler="random"), range(30))
    for i, (parameters, _) in enumerate(done):
        rung = rung_of(parameters)
        if rung:
            below = [Judged(key(p), (-m["accuracy"], m["macs"])) for p, m in done[:i] if rung_of(p) == rung - 1]
            assert key(parameters) in [each.key for each in ranking(below)[: len(below) // 3]]


def test_schedules_have_budgets_of_their_own(tmp_path):
    done = search(make(tmp_path, SCHEDULES, sampler="random"), range(40))
    for schedule in ("supernet", "gradual"):
        found = {parameters["budget"] for parameters, _ in done if parameters["schedule"] == schedule}
        assert found <= set(budgets(schedule, recoveries=2.0)) and len(found) > 1


def test_without_rungs_every_candidate_has_its_schedule_s_whole_training(tmp_path):
    tuner = make(tmp_path, rungs=False)
    assert all("budget" not in parameters for parameters, _ in search(tuner, range(12)))
    assert len(tuner.studies) == 1


def test_a_promoted_trial_that_fails_is_not_promoted_again(tmp_path):
    tuner = make(tmp_path, sampler="random", reduction=2)
    failed = []
    for i in range(30):
        parameters = tuner.ask(i)
        if rung_of(parameters, 2):
            failed.append(key(parameters))
            tuner.tell(i, parameters, None)
        else:
            tuner.tell(i, parameters, judge(parameters))
    assert len(failed) > 5
    assert len(set(failed)) == len(failed)


def test_a_network_that_is_too_large_is_not_promoted(tmp_path):
    tuner = make(tmp_path, sampler="random", constraints=["latency<=0.3ms", "drop<=90%"], reduction=2)
    done = search(tuner, range(40))
    promoted = [metrics for parameters, metrics in done if rung_of(parameters, 2)]
    assert promoted
    assert all(metrics["latency_ms"] <= 0.3 for metrics in promoted)


def test_each_rung_has_a_study_that_optuna_opens(tmp_path):
    search(make(tmp_path), range(12))
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    )
    assert sorted(optuna.get_all_study_names(storage)) == ["autoprune", "autoprune rung 1", "autoprune rung 2"]
    study = optuna.load_study(study_name="autoprune rung 1", storage=storage)
    assert study.metric_names == ["accuracy", "macs"]
    assert [trial.state.name for trial in study.trials if trial.values]


def test_after_a_restart_promotions_stand_and_running_ones_get_their_results(tmp_path):
    first = make(tmp_path, sampler="random")
    done, waiting = [], None
    for i in range(40):
        parameters = first.ask(i)
        if rung_of(parameters) == 1 and len(done) > 8:
            waiting = parameters  # killed while this promoted trial runs
            break
        done.append((parameters, judge(parameters)))
        first.tell(i, *done[-1])
    before = states(first)
    assert before[1][-1] == "RUNNING"

    second = make(tmp_path, sampler="random")
    second.resume(done)
    assert states(second) == before
    second.resume([(waiting, judge(waiting))])
    assert "RUNNING" not in states(second)[1]
    runs = [(key(p), p["budget"]) for p, _ in [*done, (waiting, None), *search(second, range(20))]]
    assert len(set(runs)) == len(runs)


def test_a_promotion_that_was_written_down_but_not_begun_is_made_up_for(tmp_path):
    tuner = make(tmp_path, sampler="random")
    search(tuner, range(2))
    point = {"criterion": "fpgm", "sparsity.a": 0.5, "sparsity.b": 0.25, "sparsity.c": 0.0}
    tuner.studies[1].enqueue_trial(point)
    parameters = make(tmp_path, sampler="random").ask(0)
    assert parameters == point | {"budget": budgets("one_shot")[1]}
