"""A task judged by another measure than accuracy: the declaration decides what is better, and how it is written."""

import io
import json
from dataclasses import replace

import pytest

from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.front import front_as_dict
from autoprune.report.rows import front_rows
from autoprune.report.table import front_table
from autoprune.report.terminal import Console
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.limits import read_limits, satisfies
from autoprune.results.measures import ACCURACY, MEASURES, SIZES, Measure
from autoprune.results.pareto import check_objectives, choose, pareto_front

RMSE = Measure("rmse", "RMSE", "minimize", "number", aliases=("error",))
DENSE = {"rmse": 0.4, "params": 1000, "macs": 100_000, "bytes": 4000, "latency_ms": 2.0}
RESULTS = {"good": (0.398, 0.9), "fair": (0.403, 0.5), "poor": (0.6, 0.1), "beaten": (0.7, 0.6)}
"""By trial: RMSE, and the share of the dense model's size."""

OBJECTIVES = ("rmse", "macs")


def measured(rmse, share):
    return {name: value * share for name, value in DENSE.items()} | {"rmse": rmse}


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    monkeypatch.setitem(MEASURES, "rmse", RMSE)


@pytest.fixture
def results():
    return {name: measured(*each) for name, each in RESULTS.items()}


@pytest.fixture
def search(tmp_path, results):
    """A search for a low RMSE, with one baseline."""

    def trial(number, name, measures, parameters):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps({"measures": measures, "dense": DENSE}))
        return Trial(name, number, parameters, "SUCCEEDED", measures, None, folder, 1, 2, metric=RMSE)

    trials = [trial(i, name, each, {"criterion": "fpgm"}) for i, (name, each) in enumerate(results.items())]
    trials.append(trial(9, "base", measured(0.5, 0.5), {"baseline": "l1_filter", "sparsity": 0.5}))
    config = {
        "experimentName": "boats",
        "trialCommand": "autoprune trial boats.py",
        "tuner": {"classArgs": {"objectives": list(OBJECTIVES)}},
    }
    return Experiment("boats", tmp_path, config, trials, metric=RMSE)


def test_the_front_has_the_lowest_where_less_is_better(results):
    assert check_objectives(["rmse", "macs"]) == OBJECTIVES
    assert pareto_front(results, OBJECTIVES) == ["good", "fair", "poor"]


@pytest.mark.parametrize(
    "rule, chosen",
    [("drop<=1%", "fair"), ("drop<=0%", "good"), ("rmse<=0.5", "fair"), ("error<=0.7", "poor"), ("macs<=60k", "fair")],
)
def test_rules_choose_by_it(results, rule, chosen):
    assert choose(rule, results, DENSE, OBJECTIVES, RMSE) == chosen


def test_a_limit_is_on_its_better_side_and_a_drop_is_a_share_of_the_dense_value(results):
    with pytest.raises(UserError, match="cannot read"):
        read_limits(["rmse>=0.5"])
    within = {
        words: [name for name, each in results.items() if satisfies(read_limits([words]), each, DENSE, RMSE)]
        for words in ("rmse<=0.5", "drop<=1%", "drop<=50%", "drop<=0%")
    }
    assert within == {
        "rmse<=0.5": ["good", "fair"],
        "drop<=1%": ["good", "fair"],
        "drop<=50%": ["good", "fair", "poor"],
        "drop<=0%": ["good"],
    }
    with pytest.raises(UserError, match="the RMSE of the dense model is not known yet"):
        read_limits(["drop<=1%"])[0].violation(results["good"], None, RMSE)


def test_an_experiment_is_read_chosen_from_and_written_by_it(search):
    assert [trial.id for trial in search.front()] == ["good", "fair", "poor"]
    assert replace(search, config=search.config | {"tuner": {}}).objectives == OBJECTIVES
    assert choose_trial(search, None)[0].id == "fair"
    assert choose_trial(search, "rmse<=0.399")[0].id == "good"
    assert search.margins(search.trial("fair"))["above_l1_filter"] == pytest.approx(0.097)
    assert front_as_dict(search)["front"][0]["measures"]["rmse"] == 0.398


def test_tables_write_it_in_its_form_and_compare_in_percent(search):
    rows = {row.label: row for row in front_rows(search)}
    assert list(rows["good"].cells) == ["rmse", *(name for name, size in SIZES.items() if not size.optional)]
    assert (rows["fair"].cells["rmse"].text, rows["fair"].cells["rmse"].words) == ("0.403", "+0.8 %")
    assert rows["good"].cells["rmse"].compared == "-0.5 %"
    assert rows["fair"].margins == {"l1_filter": "+0.097"}
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(front_table(search))
    text = console.export_text()
    assert "RMSE" in text
    assert "percent" in text
    assert "ccuracy" not in text


def test_reports_and_pictures_speak_of_it(search, tmp_path):
    from autoprune.report.page import write_report
    from autoprune.report.picture import front_picture

    page = write_report(search, None, tmp_path / "report.html").read_text().rpartition("</script>")[2]
    assert "accuracy" not in page.lower().replace("validation accuracy of each episode", "")
    assert front_picture(search, tmp_path / "front.svg").is_file()


def test_a_task_without_accuracy_is_not_called_unfinished_for_that(search):
    assert len(search.candidates) == 4
    assert not replace(search.trials[0], metric=ACCURACY).succeeded


@pytest.mark.parametrize(
    "measure, value, dense, drop",
    [
        (ACCURACY, 0.97, 0.99, 0.02),
        (RMSE, 0.5, 0.4, 0.25),
        (replace(RMSE, direction="maximize"), 0.3, 0.4, 0.25),
        (Measure("error", "error", "minimize", "percent"), 0.05, 0.02, 0.03),
        (RMSE, 0.0, 0.0, 0.0),
        (RMSE, 0.1, 0.0, float("inf")),
    ],
)
def test_a_drop_is_points_of_a_fraction_and_a_share_of_other_numbers(measure, value, dense, drop):
    assert measure.drop(value, dense) == pytest.approx(drop)
    if dense:
        assert measure.after_drop(dense, drop) == pytest.approx(value)


def test_every_declaration_goes_to_the_page_as_json():
    for name, measure in MEASURES.items():
        content = json.loads(json.dumps(measure.declaration()))
        assert (content["name"], content["direction"]) == (name, measure.direction)
        assert content["comparison"] in ("points", "ratio", "percent")
