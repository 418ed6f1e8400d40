"""The benchmark in experiments/benchmark/, on a task that takes seconds."""

import gzip
import itertools
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
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
    return ["--results", str(tmp_path / "results.csv.gz"), "--cache", str(tmp_path / "cache")]


def test_every_method_leaves_a_record_that_a_second_call_keeps_and_the_analysis_reads(benchmark, folders, tmp_path):
    run, analyse = benchmark
    asked = ["--tasks", "digits", "--seeds", "0", "--budget", "15", "--processes", "1", *folders]
    table = tmp_path / "results.csv.gz"
    assert run.main(asked) == 0
    records = run.results.read(table)
    assert [record["method"] for record in records] == sorted(run.METHODS)
    for record in records:
        assert (record["task"], record["seed"], record["budget"]) == ("digits", 0, 15)
        assert record["trials"], record["method"]
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

    kept = [record for record in records if record["method"] != "random"]
    run.results.write(kept, table)
    assert run.main(asked) == 0
    again = run.results.read(table)
    assert [record["method"] for record in again] == sorted(run.METHODS)
    assert [record for record in again if record["method"] != "random"] == kept

    page = tmp_path / "page.md"
    analyse.main(["--results", str(table), "--page", str(page), "--images", str(tmp_path / "images")])
    text = page.read_text()
    for name in run.METHODS:
        assert text.count(f"| {analyse.LABELS[name]} |") == 3
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


def test_runs_of_another_budget_stand_beside_and_are_not_mixed_in(benchmark, folders, tmp_path):
    run, analyse = benchmark
    asked = ["--tasks", "digits", "--methods", "nni_recipe", "--seeds", "0", "--processes", "1", *folders]
    assert run.main([*asked, "--budget", "4"]) == 0
    assert run.main([*asked, "--budget", "2"]) == 0
    records = run.results.read(tmp_path / "results.csv.gz")
    assert [record["budget"] for record in records] == [2, 4]
    short, long = records
    assert analyse.by_budget(records, None) == ([short], [long])
    assert analyse.by_budget(records, 4) == ([long], [])
    assert analyse.by_budget([], None) == ([], [])


def a_run(**changes):
    """A record as run.py makes it."""
    trial = {"time": 1.5, "accuracy": 0.75, "params": 10, "macs": 20, "parameters": {"sparsity.a": 0.5, "repeat": 1}}
    return {
        "task": "digits",
        "method": "uniform",
        "seed": 0,
        "budget": 15.0,
        "dense": {"accuracy": 1 / 3, "params": 100, "macs": 200, "test": 0.1},
        "recovery": {"steps": 3, "learning_rate": 1e-05, "optimizer": "sgd"},
        "notes": {"supernet": 0.25},
        "ended": "2026-11-21T08:47:02+00:00",
        "revision": "a1cabd0678c8+",
        "machine": {"Processor": 'of "two", cores'},
        "versions": {"Python": "3.11.7"},
        "trials": [trial, trial | {"time": 2.5, "test": 0.7}],
        "failures": ["nothing left,\nof conv1"],
    } | changes


def test_the_table_gives_back_the_runs_that_were_added_in_any_order(benchmark, tmp_path):
    import results

    runs = [a_run(), a_run(seed=1, trials=[], failures=[]), a_run(method="random", trials=[])]
    for each in runs:
        results.add(each, tmp_path / "some" / "table.csv.gz")
    assert results.read(tmp_path / "some" / "table.csv.gz") == [runs[2], runs[0], runs[1]]
    results.write(reversed(runs), tmp_path / "other.csv.gz")
    assert (tmp_path / "other.csv.gz").read_bytes() == (tmp_path / "some" / "table.csv.gz").read_bytes()
    results.add(a_run(notes={"grid": 9}), tmp_path / "other.csv.gz")
    assert [each["notes"] for each in results.read(tmp_path / "other.csv.gz")][1] == {"grid": 9}
    assert results.read(tmp_path / "none.csv.gz") == []


def test_runs_that_end_at_the_same_time_are_all_kept(benchmark, tmp_path):
    import results

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: results.add(a_run(seed=seed), tmp_path / "table.csv.gz"), range(24)))
    assert [record["seed"] for record in results.read(tmp_path / "table.csv.gz")] == list(range(24))


def test_the_repositorys_table_has_runs_of_every_method_and_nothing_unknown(benchmark):
    import results

    records = results.read()
    assert {record["method"] for record in records} == set(benchmark[0].METHODS)
    for record in records:
        assert set(record) == {*results.RUN, "trials", "failures"}
        assert all({*trial, "test"} == set(results.TRIAL) for trial in record["trials"])
        assert any("test" in trial for trial in record["trials"])


def test_a_table_of_another_version_is_refused(benchmark, tmp_path):
    import results

    table = tmp_path / "table.csv.gz"
    results.write([a_run()], table)
    table.write_bytes(gzip.compress(gzip.decompress(table.read_bytes()).replace(b"\n1,", b"\n2,")))
    with pytest.raises(results.UserError, match="another version"):
        results.read(table)
    table.write_text("task,method\n")
    with pytest.raises(results.UserError, match="is no table of results"):
        results.read(table)


def test_a_run_names_the_revision_and_whether_code_beside_the_table_has_changed(benchmark, tmp_path, monkeypatch):
    run, _ = benchmark
    monkeypatch.setattr(run, "HERE", tmp_path)
    assert run._revision() == "unknown"

    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    table, code = tmp_path / "results.csv.gz", tmp_path / "code.py"
    for file in (table, code):
        file.write_text("before")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    revision = git("rev-parse", "HEAD")[:12]
    table.write_text("after")
    assert run._revision() == revision
    code.write_text("after")
    assert run._revision() == f"{revision}+"


def test_a_method_that_breaks_is_reported_and_the_others_go_on(benchmark, folders, tmp_path, monkeypatch, capsys):
    run, _ = benchmark

    def broken(bench):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(run.METHODS, "random", broken)
    asked = ["--tasks", "digits", "--methods", "random,uniform", "--seeds", "0", "--budget", "5", *folders]
    assert run.main([*asked, "--processes", "1"]) == 1
    assert "no such luck" in capsys.readouterr().out
    assert [record["method"] for record in run.results.read(tmp_path / "results.csv.gz")] == ["uniform"]


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
