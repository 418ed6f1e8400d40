"""The worked examples of docs/architecture.md: installed as another package, found by entry points, and each used."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import make_groups, make_task

from autoprune import Candidate, run_search, run_trial
from autoprune.engine import ENGINES
from autoprune.errors import UserError
from autoprune.export import FORMATS, export, quantize
from autoprune.export.formats.onnx import load
from autoprune.measure import latency
from autoprune.measure.runtimes import RUNTIMES
from autoprune.prune.allocation import METHODS, allocate
from autoprune.prune.criteria import CRITERIA, channels_to_remove
from autoprune.prune.schedules import SCHEDULES
from autoprune.report.loggers import LOGGERS
from autoprune.results.measures import METRICS, PACKAGED, read_metric
from autoprune.search.tuners import TUNERS
from autoprune.task.builtin import TASKS
from autoprune.task.find import load_task
from autoprune.train import evaluation
from autoprune.train.metrics import METERS
from autoprune.trial.preparation import prepare_search

DOCS = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
REGISTRIES = (CRITERIA, SCHEDULES, METHODS, TUNERS, TASKS, FORMATS, quantize.QUANTISERS, RUNTIMES, ENGINES)
REGISTRIES += (PACKAGED, METERS, LOGGERS)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def entry_points():
    """Return the entry points of the examples: name -> object, by group."""
    found = {}
    for block in blocks("toml"):
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items():
            found.setdefault(group, {}).update(entries)
    return found


def install(site, files, points):
    """Write a package and its metadata into ``site``, as an installer does."""
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    info = site / "my_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    sections = ("\n".join([f"[{group}]", *map(" = ".join, entries.items())]) for group, entries in points.items())
    (info / "entry_points.txt").write_text("\n".join(sections))


def forget():
    """Let the registries look again for entry points, as a new process would."""
    importlib.invalidate_caches()
    for registry in REGISTRIES:
        vars(registry).pop("_places", None)
        for name in registry._loaded.keys() - registry._own.keys():
            del registry._loaded[name]
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def do(files, points):
        install(tmp_path, files, points)
        forget()

    yield do
    forget()


@pytest.fixture
def examples(installed):
    files = {re.match(r"# (\S+)\n", block)[1]: block for block in blocks("python")}
    installed(files, entry_points())


@pytest.fixture(scope="module")
def tiny():
    task, data, dense = make_task()
    return task, data, dense, make_groups(dense, task)


def test_there_is_an_example_of_each_kind_and_no_name_before_it_is_installed(tiny):
    assert {registry.group for registry in REGISTRIES} == set(entry_points())
    assert {row for row in re.findall(r"`(autoprune\.\w+)` \| ", DOCS)} == set(entry_points())
    for registry in REGISTRIES:
        assert not set(entry_points()[registry.group]) & set(registry)


def test_the_criteria_prune(examples, tiny):
    task, data, dense, groups = tiny
    remove = {"inner": 6}
    weight = dense.model.inner.weight.flatten(1)
    for name, p in (("p4_norm", 4), ("largest_weight", float("inf"))):
        gone = channels_to_remove(dense.model, groups, name, remove)["inner"]
        assert gone == sorted(weight.norm(p=p, dim=1).argsort()[:6].tolist())


def test_the_schedule_is_followed_with_the_criterion_and_the_allocation(examples, tiny):
    task, data, dense, groups = tiny
    seen = []
    candidate = Candidate({"inner": 0.5}, criterion="p4_norm", schedule="late")
    result = run_trial(task, candidate, data, dense, round_to=1, on_round=seen.append)
    assert len(seen) == SCHEDULES["late"].rounds - 1
    assert result.kept["inner"] == 6
    spread = allocate(dense.model, groups, 0.3, "by_width")
    assert spread["hidden"] == max(spread.values()) > 0
    parameters = sum(p.numel() for p in dense.model.parameters())
    candidate = Candidate({}, uniform=0.3, criterion="p4_norm", schedule="late", allocation="by_width")
    assert run_trial(task, candidate, data, dense, round_to=1).measures["params"] < 0.8 * parameters


def test_the_tuner_searches_by_its_name(examples, tiny):
    result = run_search(tiny[0], trials=4, tuner="climb", baselines=False, warm_start=False, round_to=1, seed=3)
    sparsities = [trial.parameters for trial in result.candidates]
    assert len(sparsities) == 4 and not result.failed
    assert sparsities[0] != sparsities[-1]


def test_the_engine_runs_the_trial_gently(examples, tmp_path):
    code = "import os; from autoprune import engine; print(engine.chosen()(['digits'], 'server'), os.nice(0))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "AUTOPRUNE_ENGINE": "gently"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None 19\n"


def test_the_task_is_found_by_its_name(examples):
    task = load_task("stripes")
    assert task.build()(task.example_input).shape == (1, 2)
    assert list(map(len, task.data())) == [96, 48, 48]


def test_the_metric_judges_a_task_and_is_known_to_other_processes(examples, tiny, monkeypatch):
    monkeypatch.delitem(METRICS, "balanced", raising=False)
    task, data, dense, _ = tiny
    task = replace(task, metric="balanced")
    found = evaluation.quality(task, dense.model, data.validation)
    with torch.no_grad():
        right = dense.model(data.validation.tensors[0]).argmax(1) == data.validation.tensors[1]
    labels = data.validation.tensors[1]
    assert found == pytest.approx(
        float(torch.stack([right[labels == c].float().mean() for c in labels.unique()]).mean())
    )
    assert read_metric(task.metric.to_word()).direction == "maximize"
    assert read_metric("balanced").write(0.5) == "50.00 %"


def test_the_format_is_written_loaded_back_and_compared(examples, tiny, tmp_path):
    task, data, dense, _ = tiny
    found = export(task, dense.model, dense.model, data.validation, {"npz": tmp_path / "model.npz"}, runs=1)["npz"]
    assert found.file.stat().st_size == found.bytes > 0
    assert found.difference < 1e-6


def test_the_quantiser_writes_an_eight_bit_file(examples, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "CALIBRATION", 64)
    task, data, dense, _ = tiny
    percentile, file = quantize.QUANTISERS["percentile"], tmp_path / "int8.onnx"
    request = quantize.Request(task, dense.model, dense.model, data)
    assert percentile.method(request) == "post-training, ranges by percentile"
    percentile.write(request, file)
    assert b"QuantizeLinear" in file.read_bytes()
    inputs = torch.cat([data.validation[i][0][None] for i in range(8)])
    with torch.no_grad():
        assert torch.allclose(load(file)(inputs), dense.model(inputs), atol=0.2)


def test_the_runtime_is_timed(examples, tiny):
    task, _, dense, _ = tiny
    found = latency.compare(dense.model, dense.model, task.example_input, "inference", runs=3, warmup=1)
    assert found.pruned.runtime == "inference"
    assert found.pruned.median_ms > 0


def test_the_logger_is_told_each_trial_and_the_choice(examples, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = {"trials": 2, "baselines": False, "warm_start": False, "round_to": 1}
    result = run_search(tiny[0], tuner="climb", log="lines", **search)
    *trials, end = map(json.loads, (tmp_path / "tiny.jsonl").read_text().splitlines())
    assert [each["trial/macs"] for each in trials] == [trial.metrics["macs"] for trial in result.trials]
    assert end["chosen"].startswith(f"trial {result.choose().id}")


WEIGHTS = """
from autoprune.prune.criteria import FunctionCriterion
X = FunctionCriterion(lambda request: {n: w.abs() for _, n, w in request.weights()}, "weight", "an example")
"""


def test_the_preparation_says_which_criteria_of_other_packages_remove_no_channels(installed, tiny):
    points = {"mine": "my_package.mine:X", "gone": "my_package.gone:X"}
    installed({"my_package/mine.py": WEIGHTS}, {"autoprune.criteria": points})
    task, data, dense, groups = tiny
    prepared = prepare_search(task, data, replace(dense, groups=groups), Candidate(), round_to=1)
    assert {"level", "nm_2_4", "mine"} <= set(prepared.unstructured)
    assert not {"l1_norm", "l0", "gone"} & set(prepared.unstructured)


def test_a_package_that_does_not_load_says_so_and_stands_in_nobodys_way(installed):
    installed({"my_package/broken.py": "import nowhere"}, {"autoprune.criteria": {"broken": "my_package.broken:X"}})
    assert "broken" in CRITERIA
    assert CRITERIA["l1_norm"].structured
    with pytest.raises(UserError, match="criterion broken of the entry point my_package.broken:X cannot be loaded"):
        CRITERIA["broken"]


def test_a_name_of_autoprune_cannot_be_taken_over(installed):
    installed({"my_package/mine.py": "X = 1"}, {"autoprune.criteria": {"l1_norm": "my_package.mine:X"}})
    assert CRITERIA["l1_norm"] != 1
    assert list(CRITERIA).count("l1_norm") == 1
