"""What a search learned: what is known to matter is found, and nothing is said where nothing can be known."""

import json
import random
from dataclasses import replace

import pytest

from autoprune.report import importance
from autoprune.report.importance import FEWEST, at_equal_size, importances, judged_alike
from autoprune.report.learned import MOST_LINES, learned, search_sections
from autoprune.report.sensitivity import draw_sensitivity
from autoprune.results.measures import Measure


def search(maker, count, seed=0, **more):
    """Add candidates: hidden's sparsity and the criterion cost accuracy, all groups' sparsities make them small."""
    rng = random.Random(seed)
    maker.prepare()
    for _ in range(count):
        sparsity = {name: rng.randrange(8) / 8 for name in ("stem.0", "block.0.0", "down.0", "hidden")}
        criterion = rng.choice(["fpgm", "l1_norm"])
        share = 1 - sum(sparsity.values()) / 4
        accuracy = 0.97 - 0.1 * sparsity["hidden"] ** 2 - 0.03 * (criterion == "fpgm") - 0.05 * (1 - share)
        parameters = {f"sparsity.{name}": value for name, value in sparsity.items()} | more
        maker.add(round(accuracy + rng.gauss(0, 0.001), 4), max(share, 0.01), criterion=criterion, **parameters)
    return maker.experiment()


def section(experiment, id_):
    return next(each for each in search_sections(experiment) if each.id == id_)


def test_what_costs_accuracy_is_found_at_equal_size_and_the_rest_is_chance(maker):
    found = importances(search(maker, 50))
    first, second, *rest = found.at_equal_size.shares
    assert {first, second} == {"sparsity.hidden", "criterion"}
    shares = found.at_equal_size.shares
    assert shares[second] > 3 * found.at_equal_size.chance
    assert shares[second] > 3 * max(shares[name] for name in rest)
    assert sum(shares.values()) == pytest.approx(1)
    assert found.trials == 50


def test_the_metric_as_it_is_follows_size_and_what_is_left_of_it_does_not(maker):
    maker.prepare()
    rng = random.Random(0)
    for _ in range(60):  # accuracy is a matter of size alone
        sparsity = {f"sparsity.{name}": rng.randrange(8) / 8 for name in ("stem.0", "down.0", "hidden")}
        share = 1 - 0.6 * sparsity["sparsity.stem.0"] - 0.3 * sparsity["sparsity.down.0"]
        maker.add(0.9 + 0.05 * share + rng.gauss(0, 1e-5), share, **sparsity, **{"sparsity.block.0.0": 0.0})
    experiment = maker.experiment()
    found = importances(experiment)
    assert found.of_metric.shares["sparsity.stem.0"] > 0.5
    trials = judged_alike(experiment)
    assert max(abs(at_equal_size(experiment, trials))) < 1e-3
    assert found.at_equal_size.shares["sparsity.stem.0"] < 0.6


def test_a_metric_of_which_less_is_better_is_turned_round(maker):
    rmse = Measure("rmse", "RMSE", "minimize", "number")
    experiment = search(maker, 40)
    trials = [
        replace(t, metrics=t.metrics | {"rmse": 1 - t.metrics["accuracy"]}, metric=rmse) for t in experiment.trials
    ]
    for trial in trials:
        trial.record["dense"] = trial.record["dense"] | {"rmse": 0.01}
    experiment.config["tuner"]["classArgs"]["objectives"] = ["rmse", "macs"]
    turned = replace(experiment, trials=trials, metric=rmse)
    same = at_equal_size(search(maker_like(maker), 40), judged_alike(search(maker_like(maker), 40)))
    assert at_equal_size(turned, judged_alike(turned)) == pytest.approx(same)


def maker_like(maker):
    """Another maker, of another folder."""
    return type(maker)(maker.folder / f"other{len(list(maker.folder.glob('other*')))}")


def test_the_same_search_says_the_same_twice(maker):
    experiment = search(maker, FEWEST)
    assert importances(experiment) == importances(experiment)


def test_too_few_candidates_are_said_and_not_drawn(maker):
    experiment = search(maker, FEWEST - 1)
    found = section(experiment, "importance")
    assert found.figures == []
    assert found.words == ["It takes 30 candidates that were judged alike to say what mattered; there are 29."]


def test_candidates_that_cannot_be_told_apart_are_said(maker):
    maker.prepare()
    for _ in range(FEWEST):
        maker.add(0.98, 0.5)
    assert importances(maker.experiment()) == "All candidates have the same parameters."


def test_judgements_after_more_training_are_not_compared_with_those_after_less(maker):
    search(maker, 40, schedule="supernet", budget=0.0)
    for _ in range(9):
        maker.add(0.99, 0.5, schedule="supernet", budget=1.0)
    experiment = maker.experiment()
    assert len(judged_alike(experiment)) == 40
    assert "over 40 candidates, judged by the supernet alone" in section(experiment, "importance").words[1]


def test_of_thousands_of_candidates_some_are_drawn_the_front_among_them(maker, monkeypatch):
    monkeypatch.setattr(importance, "MOST", 40)
    experiment = search(maker, MOST_LINES + 30)
    parallel = section(experiment, "parallel")
    assert f"{MOST_LINES} candidates of {MOST_LINES + 30}, drawn at random" in parallel.words[0]
    lines = " ".join(str(text) for trace in parallel.figures[0]["data"] for text in trace["text"])
    assert all(f"{trial.sequence}: " in lines for trial in experiment.front())
    assert f"over 40 candidates of {MOST_LINES + 30}" in section(experiment, "importance").words[1]


def test_a_slice_shows_every_candidate_and_leaves_ruins_outside_its_axes(maker):
    search(maker, 40)
    maker.add(0.1, 0.3)
    (first, *_) = section(maker.experiment(), "slices").figures
    assert len(first["data"][0]["x"]) == 41
    assert first["layout"]["yaxis"]["range"][0] > 0.5


def test_sensitivities_say_whose_they_are_and_many_groups_are_a_heat_map(maker, tmp_path):
    maker.prepare()
    maker.prepare("fpgm", schedule="supernet")
    first, second = [each for each in learned(maker.experiment())["sections"] if "sensitivity" in each["id"]]
    assert first["title"] == "Sensitivity of each group (l1_norm): the dense network"
    assert second["title"] == "Sensitivity of each group (fpgm): the supernet"
    assert len(first["figures"][0]["data"]) == 4
    many = {f"group<{i}>": [[0, 0.99], [0.31, 0.99 - i / 100], [0.9375, 0.5]] for i in range(25)}
    (maker.folder / "log").mkdir()
    (maker.folder / "log" / "sensitivity.json").write_text(json.dumps(many))
    first = next(each for each in learned(maker.experiment())["sections"] if each["id"] == "sensitivity")
    (heat,) = first["figures"][0]["data"]
    assert (heat["type"], heat["x"], heat["y"][3]) == ("heatmap", ["25%", "94%"], "group&lt;3&gt;")
    assert heat["text"][3] == ["-3.00", "-49.00"]
    assert heat["z"][3] == pytest.approx([3, 49])
    drawn = draw_sensitivity(many, tmp_path / "many.svg", title="Sensitivity of the supernet").read_text()
    assert "<!-- group&lt;24&gt; -->" in drawn or "<!-- group<24> -->" in drawn


def test_predictions_stand_beside_what_was_measured_later(maker):
    for i in range(4):
        maker.add(0.9 + i / 100, 0.5 + i / 10, schedule="supernet", budget=0.0)
        maker.add(0.95 + i / 100, 0.5 + i / 10, schedule="supernet", budget=1.0)
    found = learned(maker.experiment())["sections"][-1]
    assert found["title"] == "Predicted against measured accuracy"
    assert found["figures"][0]["data"][0]["x"] == [0.9, 0.91, 0.92, 0.93]
    assert found["figures"][0]["data"][0]["y"] == [0.95, 0.96, 0.97, 0.98]
    assert json.dumps(found)
