"""The benchmark in experiments/benchmark/, on a task that takes seconds."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARK = Path(__file__).parents[1] / "experiments" / "benchmark"


@pytest.fixture
def benchmark(monkeypatch, digits):
    """The benchmark's run and analyse modules, with digits for their only task, and a clock that ticks when read."""
    monkeypatch.syspath_prepend(BENCHMARK)
    import analyse
    import bench
    import run

    monkeypatch.setattr(bench, "time", SimpleNamespace(process_time=itertools.count().__next__))

    task = digits[0]
    task = replace(task, recovery=replace(task.recovery, steps=3), training=replace(task.training, steps=30))
    monkeypatch.setattr(run, "TASKS", {"digits": task})
    monkeypatch.setenv("AUTOPRUNE_CACHE", "is set by run.main, and is put back afterwards")
    return run, analyse


@pytest.fixture
def folders(tmp_path):
    return ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]


def test_every_method_leaves_a_record_that_a_second_call_keeps_and_the_analysis_reads(benchmark, folders, tmp_path):
    run, analyse = benchmark
    asked = ["--tasks", "digits", "--seeds", "0", "--budget", "15", "--processes", "1", *folders]
    assert run.main(asked) == 0
    files = sorted((tmp_path / "results").iterdir())
    assert [file.stem for file in files] == sorted(f"digits-{name}-0" for name in run.METHODS)
    for file in files:
        record = json.loads(file.read_text())
        assert record["trials"], file.stem
        times = [trial["time"] for trial in record["trials"]]
        assert times == sorted(times)
        assert times[-1] <= record["budget"]
        for trial in record["trials"]:
            assert 0 <= trial["accuracy"] <= 1
            assert 0 < trial["params"] <= record["dense"]["params"]
            assert 0 < trial["macs"] <= record["dense"]["macs"]
        best = max(record["trials"], key=lambda trial: trial["accuracy"])
        assert any("test" in trial and trial["accuracy"] == best["accuracy"] for trial in record["trials"])
        assert {"machine", "versions", "revision", "recovery", "notes"} <= set(record)

    before = {file: file.stat().st_mtime_ns for file in files}
    lost = tmp_path / "results" / "digits-random-0.json"
    lost.unlink()
    assert run.main(asked) == 0
    assert [file for file in files if file.stat().st_mtime_ns != before[file]] == [lost]

    page = tmp_path / "page.md"
    analyse.main(["--results", str(tmp_path / "results"), "--page", str(page), "--images", str(tmp_path / "images")])
    text = page.read_text()
    for name in run.METHODS:
        assert text.count(f"| {analyse.LABELS[name]} |") == 3
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


def test_results_of_another_budget_are_not_mixed_in(benchmark, folders, tmp_path):
    run, _ = benchmark
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "digits-uniform-0.json").write_text('{"budget": 7}')
    with pytest.raises(run.UserError, match="is of a run of 7 s"):
        run.main(["--tasks", "digits", "--methods", "uniform", "--seeds", "0", "--budget", "2", *folders])


def test_a_method_that_breaks_is_reported_and_the_others_go_on(benchmark, folders, tmp_path, monkeypatch, capsys):
    run, _ = benchmark

    def broken(bench):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(run.METHODS, "random", broken)
    asked = ["--tasks", "digits", "--methods", "random,uniform", "--seeds", "0", "--budget", "5", *folders]
    assert run.main([*asked, "--processes", "1"]) == 1
    assert "no such luck" in capsys.readouterr().out
    assert [file.stem for file in (tmp_path / "results").iterdir()] == ["digits-uniform-0"]


def record(*trials, budget=60, macs=1000):
    """A run whose dense model has 1,000 parameters and MACs, accuracy 0.9; trials are (time, accuracy, size)."""
    dense = {"accuracy": 0.9, "test": 0.9, "params": 1000, "macs": macs}
    made = [{"time": t, "accuracy": a, "test": a, "params": s, "macs": s} for t, a, s in trials]
    return {"dense": dense, "budget": budget, "trials": made}


def test_what_nnis_recipe_reaches_with_more_time_is_laid_beside_when_we_had_it(benchmark):
    _, analyse = benchmark
    ours = [record((20, 0.9, 100), budget=100), record((30, 0.9, 100), budget=100)]
    patient = [record((50, 0.8, 100), (150, 0.9, 100), (900, 0.9, 10), budget=1000)]
    rows = analyse.with_more_time({analyse.OURS: ours}, patient)
    assert [row[0] for row in rows[1:]] == ["after 100 s", "after 200 s", "after 500 s", "after 1000 s"]
    assert rows[1][1:4] == ["0.250 (0.250 to 0.250)", "25.0 (22.5 to 27.5) (2 of 2)", "4.0x"]
    assert rows[3][1:4] == ["0.500 (0.500 to 0.500)", "25.0 (22.5 to 27.5) (2 of 2)", "20.0x"]
    assert rows[4][1:4] == ["1.000 (1.000 to 1.000)", "none (none to none) (0 of 2)", "-"]
    assert analyse.with_more_time({analyse.OURS: ours}, []) == []


def test_the_hypervolume_is_the_share_of_the_plane_that_the_front_dominates(benchmark):
    import measures

    assert measures.validation_volume(record(), "macs") == 0
    assert measures.validation_volume(record((1, 0.9, 1000)), "macs") == 0
    assert measures.validation_volume(record((1, 0.9, 10)), "macs") == pytest.approx(1)
    assert measures.validation_volume(record((1, 0.9, 100)), "macs") == pytest.approx(0.5)
    assert measures.validation_volume(record((1, 0.8, 100)), "macs") == pytest.approx(0.25)
    assert measures.validation_volume(record((1, 0.6, 10)), "macs") == 0
    two = record((1, 0.9, 100), (2, 0.8, 10), (3, 0.85, 200))
    assert measures.volume_over_time(two, "macs") == [
        (0.0, 0.0),
        (1, pytest.approx(0.5)),
        (2, pytest.approx(0.75)),
    ]


def test_what_a_run_never_reached_counts_as_the_worst(benchmark):
    import measures

    curve = measures.volume_over_time(record((1, 0.9, 100), (4, 0.9, 10)), "macs")
    assert measures.time_to(curve, 0.5 - 1e-9) == 1
    assert measures.time_to(curve, 0.9) == 4
    assert measures.time_to(curve, 1.1) == math.inf
    assert math.isnan(measures.best_at(record((1, 0.9, 100)), 0.05))
    assert measures.best_at(record((1, 0.7, 40), (2, 0.8, 30)), 0.05) == 0.8
    assert measures.quartiles([math.nan, 0.5, 0.6])[0] == 0.5
    assert measures.quartiles([math.inf, math.inf, 3.0])[0] == math.inf


def test_methods_that_differ_in_every_run_have_a_small_p_value(benchmark):
    import measures

    assert measures.p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) < 0.01
    assert measures.p_value([1, 3, 5], [2, 4, 6]) > 0.5
    assert math.isnan(measures.p_value([1], [2]))
