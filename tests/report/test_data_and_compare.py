"""The front as CSV, JSON and a picture, and searches side by side."""

import csv
import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from rich.console import Console

from autoprune.errors import UserError
from autoprune.finalize.front import front_as_csv, front_as_json
from autoprune.report import compare
from autoprune.report.picture import front_picture, fronts_picture
from autoprune.report.progress import hypervolume_by_trial


def test_csv_has_a_row_for_each_trial_of_the_front(experiment):
    rows = list(csv.DictReader(io.StringIO(front_as_csv(experiment))))
    front = experiment.front()
    assert [row["trial"] for row in rows] == [trial.id for trial in front]
    assert [float(row["accuracy"]) for row in rows] == [trial.measures["accuracy"] for trial in front]
    assert float(rows[0]["above_l1_filter"]) == pytest.approx(experiment.margins(front[0])["above_l1_filter"])
    assert rows[0]["sparsity.hidden"] == str(front[0].parameters["sparsity.hidden"])


def test_csv_of_a_search_without_a_result_is_a_header(dense_unknown):
    assert front_as_csv(dense_unknown) == "trial\n"


def test_json_holds_the_front_of_the_objectives_asked_for_the_dense_model_and_the_baselines(experiment):
    content = json.loads(front_as_json(experiment, ["accuracy", "latency_ms"]))
    assert content["objectives"] == ["accuracy", "latency_ms"]
    assert content["dense"] == experiment.dense
    assert [entry["trial"] for entry in content["front"]] == [
        t.id for t in experiment.front(("accuracy", "latency_ms"))
    ]
    assert content["front"][0]["channels kept"] == experiment.front()[0].record["kept"]
    assert {name: len(trials) for name, trials in content["baselines"].items()} == {"l1_filter": 3, "lottery_ticket": 3}


def test_pictures_are_drawn_by_the_files_ending(experiment, dense_unknown, tmp_path):
    for file in (front_picture(experiment, tmp_path / "a" / "x.png"), front_picture(dense_unknown, tmp_path / "e.png")):
        with Image.open(file) as picture:
            assert picture.size == (1200, 750)
    assert fronts_picture([experiment, dense_unknown], tmp_path / "x.svg", "params").read_text().count("<svg") == 1
    with pytest.raises(UserError, match=r"x\.txt: cannot draw a \.txt"):
        front_picture(experiment, tmp_path / "x.txt")


def test_a_summary_gives_the_best_accuracy_at_shares_of_the_dense_macs(experiment):
    summary = compare.summarize(experiment)
    assert summary.best == {0.5: 0.986, 0.25: 0.986, 0.1: 0.94}  # the maker's candidates: shares 0.25 and 0.08 of both
    assert (summary.trials, summary.failed) == (12, 2)
    assert summary.hypervolume == hypervolume_by_trial(experiment, "macs")[-1]
    assert summary.seconds == (experiment.trials[11].ended - experiment.trials[0].started) / 1000
    assert (summary.task, summary.tuner) == ("digits", "OptunaTuner")


def test_searches_stand_side_by_side_and_different_tasks_are_said_to_be(experiment, dense_unknown):
    def text(*experiments):
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(compare.comparison(experiments))
        return console.export_text()

    assert "98.60 %" in text(experiment, dense_unknown)
    assert "different tasks" not in text(experiment, dense_unknown)
    other = replace(experiment, config=experiment.config | {"trialCommand": "autoprune trial fashion_mnist"})
    assert "different tasks: their accuracies do not compare" in text(experiment, other)
