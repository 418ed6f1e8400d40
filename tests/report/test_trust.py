"""What the report says of the search's own judgement: the probe, rungs, recovered networks, an agent's learning."""

import csv
import io
import json
import random
from pathlib import Path

import pytest
from scipy.stats import spearmanr
from test_page import written
from test_table import line_of, printed

from autoprune.errors import UserError
from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.finalize.front import front_as_csv, front_as_json
from autoprune.report.fidelity import Agreement, agreements
from autoprune.report.learning import Episode, read_episodes, smoothed
from autoprune.report.sensitivity import draw_sensitivity, sensitivity_table
from autoprune.report.table import front_table
from autoprune.results.fine_tuned import FineTuned, write_fine_tuned

CURVES = {"first": [(0.0, 0.99), (0.25, 0.98), (0.5, 0.9)], "last": [(0.0, 0.99), (0.5, 0.99), (0.875, 0.5)]}


def agreement(pairs) -> Agreement:
    return Agreement("early", "later", tuple(f"t{i}" for i in range(len(pairs))), tuple(pairs))


def fine_tuned(experiment, *, steps=100) -> dict[str, FineTuned]:
    front = experiment.front()
    return {
        trial.id: FineTuned(
            trial.measures["accuracy"], (0.97 - i / 100, 0.99 - i / 100), (0.95, 0.97), Path("m.pt"), steps
        )
        for i, trial in enumerate(front)
    }


def test_rank_correlations_are_those_of_the_definitions():
    assert agreement([(i, i**3) for i in range(5)]).spearman == pytest.approx(1)
    assert agreement([(i, -i) for i in range(5)]).spearman == pytest.approx(-1)
    one_swap = agreement([(1, 1), (2, 3), (3, 2), (4, 4)])
    assert one_swap.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))


def test_too_few_networks_and_judgements_that_are_all_alike_have_no_correlation():
    for pairs in ([], [(1, 1), (2, 2)], [(1, 1), (1, 2), (1, 3)]):
        assert agreement(pairs).spearman is None
        assert "nothing can be said" in agreement(pairs).in_words


def test_words_follow_the_correlation_and_say_when_there_are_few():
    straight = [(i, i) for i in range(20)]
    assert "ranks networks nearly as the later one does" in agreement(straight).in_words
    assert "hint" not in agreement(straight).in_words
    assert "With 5 networks this is a hint" in agreement(straight[:5]).in_words
    rng = random.Random(0)
    assert "says little" in agreement([(i, rng.random()) for i in range(20)]).in_words


def test_what_the_size_explains_does_not_count():
    rng = random.Random(0)
    sizes = tuple(range(30))
    noise = [(size + 4 * rng.random(), size + 4 * rng.random()) for size in sizes]
    by_size = Agreement("early", "later", ("t",) * 30, tuple(noise), sizes)
    assert by_size.spearman > 0.9 and abs(by_size.at_equal_size) < 0.4
    assert "says little of networks of equal size" in by_size.in_words and "over all sizes" in by_size.in_words
    quality = [5 * rng.random() for _ in sizes]
    told = [(size + q, size + q + 0.1 * rng.random()) for size, q in zip(sizes, quality, strict=True)]
    good = Agreement("early", "later", ("t",) * 30, tuple(told), sizes)
    assert good.at_equal_size > 0.8 and "ranks networks of equal size nearly" in good.in_words


def test_a_partial_correlation_is_that_of_the_definition():
    pairs, sizes = ((1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 4.0), (0.0, 5.0)), (1.0, 2.0, 4.0, 3.0, 5.0)
    found = Agreement("early", "later", ("t",) * 5, pairs, sizes)
    x, y = zip(*pairs, strict=True)
    xy, xs, ys = (spearmanr(a, b).statistic for a, b in ((x, y), (x, sizes), (y, sizes)))
    assert found.at_equal_size == pytest.approx((xy - xs * ys) / ((1 - xs**2) * (1 - ys**2)) ** 0.5)


def test_a_candidate_is_compared_with_itself_on_the_next_rung(maker):
    for number, accuracy in enumerate((0.7, 0.8, 0.9, 0.95)):
        same = {"sparsity.hidden": number / 10, "schedule": "gradual"}
        for budget, gain in ((0.111111, 0), (0.333333, 0.01), (None, 0.02))[: 3 if number > 1 else 2]:
            maker.add(accuracy + gain, 0.5, **same, **({"budget": budget} if budget else {}))
        maker.add(accuracy, 0.4, **same | {"schedule": "supernet"})
    maker.add(0.97, 0.4, **{"sparsity.hidden": 0.3, "schedule": "supernet", "budget": 1.0})
    maker.add(0.5, 0.4, criterion="fpgm", schedule="supernet", budget=1.0)  # never judged on the rung below
    shared, low, high = agreements(maker.experiment(), {})
    assert (shared.early, shared.later) == ("supernet alone", "supernet, 1 recovery")
    assert shared.pairs == ((0.95, 0.97),)
    assert (low.early, low.later) == ("11% of the training", "33% of the training")
    assert low.pairs == ((0.7, 0.71), (0.8, 0.81), (0.9, 0.91), (0.95, 0.96))
    assert low.spearman == pytest.approx(1)
    assert high.later == "100% of the training"
    assert high.pairs == ((0.91, 0.92), (0.96, 0.97))
    text = written(maker.experiment()).text
    assert "1.00 4 networks: their sizes explain both judgements" in text
    assert "1 network, too few: nothing can be said." in text


def test_the_searchs_judgement_is_compared_with_the_mean_after_fine_tuning(experiment):
    (found,) = agreements(experiment, fine_tuned(experiment))
    front = experiment.front()
    assert found.networks == tuple(trial.id for trial in front)
    assert found.pairs == tuple(
        (trial.measures["accuracy"], pytest.approx(0.98 - i / 100)) for i, trial in enumerate(front)
    )
    assert agreements(experiment, fine_tuned(experiment, steps=0)) == []  # nothing was trained: nothing to compare


def test_the_recovered_front_stands_in_the_table_on_the_page_and_in_the_data(experiment):
    first = experiment.front()[0]
    plain = printed(front_table(experiment), width=160)
    assert not any("Test" in line for line in plain)
    final = Final(first, "knee", 0.96, 0.985, fine_tuned=fine_tuned(experiment))
    lines = printed(front_table(experiment, final), width=160)
    assert "96.00 ± 1.41" in line_of(lines, f"* {first.id}")
    assert first.quality == pytest.approx(0.991) and "98.00 %" in line_of(lines, f"* {first.id}")  # what is chosen by
    assert "98.50" in line_of(lines, "dense")
    narrow = printed(front_table(experiment, final), width=100)
    assert any("± 1.41" in line for line in narrow)
    text = written(experiment, final).text
    assert f"{first.id} 99.10 % 98.00 ± 1.41 % 96.00 ± 1.41 % 2 100" in text
    assert "dense 99.00 % 98.50 %" in text
    assert "it has 98.00 ± 1.41 % there and 96.00 ± 1.41 % on test data, mean and spread over 2 seeds." in text
    (row, *_) = csv.DictReader(io.StringIO(front_as_csv(experiment, final=final)))
    assert float(row["recovered_test"]) == pytest.approx(0.96)
    assert float(row["recovered_validation_std"]) == pytest.approx(0.01 * 2**0.5)
    assert row["recovered_seeds"] == "2"
    last = experiment.front()[-1]
    some = Final(first, "knee", fine_tuned={last.id: final.fine_tuned[last.id]})
    first_row, *_, last_row = csv.DictReader(io.StringIO(front_as_csv(experiment, final=some)))
    assert (first_row["recovered_test"], last_row["recovered_seeds"]) == ("", "2")


def test_a_recovered_front_is_known_after_the_search_too(experiment):
    assert fine_tuned_of(experiment) == {}
    assert json.loads(front_as_json(experiment))["front"][0]["recovered"] == {}
    kept = fine_tuned(experiment)
    write_fine_tuned(experiment.folder, kept)
    assert fine_tuned_of(experiment) == kept
    assert json.loads(front_as_json(experiment))["front"][0]["recovered"]["test"] == pytest.approx(0.96)
    assert any("96.00 ± 1.41" in line for line in printed(front_table(experiment), width=160))


def test_latencies_measured_in_turn_replace_the_trials_in_the_data(experiment):
    first = experiment.front()[0]
    (row, *_) = csv.DictReader(io.StringIO(front_as_csv(experiment, final=Final(first, "x", latency_ms={first.id: 7}))))
    assert row["latency_ms"] == "7"


def test_sensitivities_are_a_table_of_what_each_part_costs():
    lines = printed(sensitivity_table(CURVES))
    assert line_of(lines, "without").split()[-3:] == ["25%", "50%", "88%"]
    assert line_of(lines, "first").split() == ["first", "-1.00", "-9.00"]
    assert line_of(lines, "last").split() == ["last", "0.00", "-49.00"]
    assert line_of(lines, "whole network: 99.00 %")


def test_sensitivities_are_drawn_with_a_line_for_each_group(tmp_path):
    drawn = draw_sensitivity(CURVES, tmp_path / "new" / "sensitivity.svg").read_text()
    assert {"<!-- first -->", "<!-- last -->"} <= {line.strip() for line in drawn.splitlines()}
    with pytest.raises(UserError, match=r"cannot draw a \.txt"):
        draw_sensitivity(CURVES, tmp_path / "sensitivity.txt")


def test_the_page_has_the_probe_of_each_criterion_and_the_recipe(maker):
    maker.prepare(recipe={"distillation": 0.9, "temperature": 4.0})
    maker.prepare("fpgm", schedule="supernet", recipe={"distillation": 0.9, "temperature": 4.0})
    text = written(maker.experiment()).text
    assert "Sensitivity of each group (l1_norm)" in text
    assert "Sensitivity of each group (fpgm)" in text
    assert "25% removed" in text
    assert "block.0.0 -1.00 -9.00" in text
    assert "from the supernet's weights" in text
    assert text.count("temperature: 4.0") == 1
    assert maker.experiment().baselines == {}


def test_an_agents_episodes_are_read_though_one_is_being_written(maker):
    file = maker.folder / "checkpoint" / "rl.jsonl"
    assert read_episodes(maker.experiment()) == []
    assert "How the agent learned" not in written(maker.experiment()).text
    file.parent.mkdir(parents=True)
    entry = {"episode": 0, "reward": 0.8, "accuracy": 0.9, "macs": 7, "target": 0.5, "noise": 0.1, "random": True}
    failed = entry | {"episode": 1, "accuracy": None, "random": False}
    file.write_text(f"{json.dumps(entry)}\n{json.dumps(failed)}\n" + '{"episode": 2, "rew')
    episodes = [Episode(0, 0.8, 0.9, 0.5, random=True), Episode(1, 0.8, None, 0.5, random=False)]
    assert read_episodes(maker.experiment()) == episodes
    page = written(maker.experiment())
    assert "How the agent learned" in page.text
    assert any('"learning"' in script and "circle-open" in script for script in page.scripts)


def test_a_learning_curve_is_smoothed_over_the_last_values():
    assert smoothed([1, 2, 3, 4], over=2) == [1, 1.5, 2.5, 3.5]
