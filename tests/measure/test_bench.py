"""`autoprune bench`: the latency of files as they are, beside what their cards say, and the machine it was taken on."""

import json
import sys

import pytest
import torch
from torch import nn

from autoprune import cli
from autoprune.errors import UserError
from autoprune.export.formats import pt2
from autoprune.measure import bench, onnx


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model, example = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval(), torch.zeros(2, 6)
    onnx.write(model, example, folder / "model.onnx")
    pt2.write(model, example, folder / "model.pt2")
    return folder / "model.onnx", folder / "model.pt2"


@pytest.fixture
def said(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["autoprune", "bench", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def test_files_of_each_kind_are_timed_and_the_figures_say_where_and_how(files, said, tmp_path):
    status, out, _ = said(*files, "--batch-sizes", "1,3", "--runs", 5, "-o", tmp_path / "figures.json")
    assert status == 0
    assert all(file.name in out.replace("\n", "") for file in files) and "cores" in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["timing"]["batch_size"] for each in figures["files"]] == [1, 1, 3, 3]
    assert all(each["timing"]["median_ms"] > 0 and len(each["sha256"]) == 64 for each in figures["files"])
    assert "cores" in figures["machine"]["Processor"] and figures["versions"]["torch"]
    assert figures["repeat with"].endswith("--batch-sizes 1,3 --threads 1 --runs 5")


def test_openvinos_files_are_timed_as_one(files, said, tmp_path):
    pytest.importorskip("openvino")
    from autoprune.measure import openvino

    model, file = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval(), tmp_path / "model.xml"
    openvino.write(model, torch.zeros(2, 6), file)
    status, out, _ = said(file, files[0], "--batch-sizes", "1,3", "--runs", 3, "-o", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert status == 0 and figures["versions"]["openvino"]
    assert [each["timing"]["runtime"] for each in figures["files"]] == ["openvino", "onnx"] * 2
    digest = figures["files"][0]["sha256"]
    file.with_suffix(".bin").write_bytes(bytes(len(file.with_suffix(".bin").read_bytes())))
    (changed,) = bench.bench([file], runs=2)
    assert changed.sha256 != digest  # other weights, the same .xml
    file.with_suffix(".bin").unlink()
    status, _, err = said(file)
    assert status == 2 and "cannot be run on a batch of 1" in err and len(err.splitlines()) == 1


def test_the_cards_figure_stands_beside_the_one_that_is_measured(files, said):
    timing = {"runtime": "onnx", "batch_size": 1, "threads": 1, "median_ms": 7.5, "low_ms": 7, "high_ms": 8, "runs": 50}
    card = {"machine": "a phone", "files": {"model.onnx": {"latency": {"pruned": timing}}}}
    file = files[0].with_name("model_card.json")
    file.write_text(json.dumps(card))
    _, out, _ = said(*files, "--runs", 3)
    assert "7.5" in out and "card: a phone" in out
    (large,) = bench.bench(files[:1], [2], runs=3)
    assert large.card is None  # it was taken in another way
    file.write_text("{")
    assert said(files[0], "--runs", 3)[0] == 0


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("none.onnx", None, "there is no such file"),
        ("model.pt", b"", "is neither an .onnx nor a .pt2 file"),
        ("bad.onnx", b"x", "cannot be run on a batch of 1"),
        ("bad.pt2", b"x", "cannot be run on a batch of 1"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(tmp_path, said, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, _, err = said(tmp_path / name)
    assert status == 2 and message in err and len(err.splitlines()) == 1


def test_an_open_shape_is_asked_for_and_a_fixed_batch_is_named(tmp_path):
    class Pool(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height")}
    for name, shapes in (("open", (free,)), ("fixed", None)):
        program = torch.onnx.export(
            Pool(), (torch.zeros(2, 3, 8, 8),), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
        program.save(tmp_path / f"{name}.onnx")
    with pytest.raises(UserError, match="--shape"):
        bench.bench([tmp_path / "open.onnx"])
    assert bench.bench([tmp_path / "open.onnx"], shape=(1, 3, 16, 8), runs=2)
    with pytest.raises(UserError, match="takes batches of 2 only"):
        bench.bench([tmp_path / "fixed.onnx"])
