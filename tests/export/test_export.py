"""Taking a model home: files that are loaded back, a card that tells the truth, and no need of AutoPrune."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

import autoprune
from autoprune import export
from autoprune.errors import UserError
from autoprune.export.recovery import recover
from autoprune.finalize.finish import Options
from autoprune.finalize.intervals import wilson
from autoprune.train import evaluation


@pytest.fixture(scope="module")
def home(digits_search, tmp_path_factory):
    """A model taken home in every format."""
    folder = tmp_path_factory.mktemp("home")
    return digits_search.export("knee", folder, recovery_steps=10, runs=5), folder


@pytest.fixture(scope="module")
def model(home, digits_search):
    return export.load_pruned(digits_search.loaded[0], home[0].files["state_dict"])


def images(digits_search, number):
    return torch.stack([digits_search.loaded[1].validation[i][0] for i in range(number)])


def test_every_format_loads_in_its_own_runtime_with_the_same_outputs(home, model, digits_search):
    files = home[0].files
    for number in (1, 3):  # batch sizes that no exporter saw
        inputs = images(digits_search, number)
        with torch.no_grad():
            expected = model(inputs)
        session = onnxruntime.InferenceSession(files["onnx"])
        assert torch.allclose(torch.tensor(session.run(None, {"input": inputs.numpy()})[0]), expected, atol=1e-4)
        assert torch.allclose(torch.export.load(files["pt2"]).module()(inputs), expected, atol=1e-4)
    assert session.get_inputs()[0].shape == ["batch", 1, 8, 8]


def test_the_card_says_what_the_files_are(home, model, digits_search):
    final, folder = home
    card = json.loads((folder / "model_card.json").read_text())
    task, data, dense = digits_search.loaded
    assert card["trial"] == final.chosen.id
    assert set(card["files"]) == {"model.pt2", "model.onnx", "model.state_dict.pt"}
    for name, file in card["files"].items():
        assert file["bytes"] == (folder / name).stat().st_size
        assert file["validation accuracy"] == pytest.approx(evaluation.quality(task, model, data.validation))
        assert file["latency"]["pruned"]["median_ms"] > 0
    test = card["test accuracy"]
    assert test["pruned"] == pytest.approx(evaluation.quality(task, model, data.test))
    assert test["dense"] == pytest.approx(evaluation.quality(task, dense.model, data.test))
    low, high = test["pruned 95 % interval"]
    assert low < test["pruned"] < high
    text = (folder / "model_card.md").read_text()
    assert card["latency_ms"]["where"] == "PyTorch (eager) on the CPU"
    assert "Latency in the search: PyTorch (eager) on the CPU." in text
    assert f"{100 * test['pruned']:.2f} % ({100 * low:.1f} to {100 * high:.1f})" in text
    assert all(file["how to load"] in text for file in card["files"].values())


def test_openvinos_two_files_run_in_its_own_runtime_with_the_same_outputs(digits_search, tmp_path):
    openvino = pytest.importorskip("openvino")
    final = digits_search.export("knee", tmp_path, recovery_steps=0, runs=3, formats=("openvino",))
    assert {file.name for file in tmp_path.iterdir()} >= {"model.xml", "model.bin", "model_card.json"}
    inputs = images(digits_search, 3)
    with torch.no_grad():
        expected = digits_search.model("knee")(inputs)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # where the processor has bfloat16, OpenVINO takes that by default
    found = openvino.compile_model(tmp_path / "model.xml", "CPU", exact)(inputs.numpy())[0]
    assert torch.allclose(torch.tensor(found), expected, atol=1e-4)
    card = json.loads((tmp_path / "model_card.json").read_text())
    known = card["files"]["model.xml"]
    assert known["bytes"] == sum((tmp_path / name).stat().st_size for name in ("model.xml", "model.bin"))
    assert known["largest difference of outputs, relative"] < export.TOLERANCE and known["latency"]["speedup"] > 0
    assert card["versions"]["openvino"] == openvino.__version__.partition("-")[0]
    run_without_autoprune(tmp_path, "model.xml", inputs, expected)
    assert final.exported["openvino"].quality == pytest.approx(known["validation accuracy"])


def test_of_two_files_that_compute_something_else_neither_is_left(digits_search, model, tmp_path, monkeypatch):
    def write_two(model, inputs, file):
        file.write_text("")
        file.with_suffix(".bin").write_text("")

    task, data, dense = digits_search.loaded
    broken = replace(export.FORMATS["openvino"], write=write_two, load=lambda *_: lambda inputs: model(inputs) * 1.01)
    monkeypatch.setattr(export, "FORMATS", {**export.FORMATS, "openvino": broken})
    with pytest.raises(export.ExportMismatch):
        export.export(task, model, dense.model, data.validation, {"openvino": tmp_path / "net.xml"})
    assert not list(tmp_path.iterdir())


def test_a_format_whose_package_is_missing_is_refused_in_one_line_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("autoprune.base.packages.find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"format openvino needs openvino: pip install 'autoprune\[openvino\]'"):
        export.files_at(tmp_path, ("pt2", "openvino"))
    assert export.formats_for(None, tmp_path) == ("pt2", "onnx", "state_dict")
    assert export.formats_for(None, tmp_path / "net.xml") == ("openvino",)


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx"])
def test_without_autoprune_the_cards_three_lines_run_the_model(home, model, digits_search, name):
    _, folder = home
    inputs = images(digits_search, 5)
    with torch.no_grad():
        run_without_autoprune(folder, name, inputs, model(inputs))


def run_without_autoprune(folder, name, inputs, expected):
    """Run the card's lines on a file where AutoPrune cannot be imported, and compare the outputs."""
    np.save(folder / "inputs.npy", inputs.numpy())
    lines = json.loads((folder / "model_card.json").read_text())["files"][name]["how to load"]
    assert len(lines.splitlines()) == 3
    convert = "torch.from_numpy(inputs)" if name.endswith("pt2") else "inputs"
    first, *others = lines.splitlines()
    code = ["import sys; sys.modules['autoprune'] = None", "import numpy", first, "inputs = numpy.load('inputs.npy')"]
    code += [f"inputs = {convert}", *others, "outputs = getattr(outputs, 'detach', lambda: outputs)()"]
    code += ["numpy.save('outputs.npy', numpy.asarray(outputs))"]
    subprocess.run([sys.executable, "-c", "\n".join(code)], cwd=folder, check=True, timeout=100)
    assert np.allclose(np.load(folder / "outputs.npy"), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18.v2-x7", "model.bin", "a.onnx.d"])
def test_a_dot_in_a_folders_name_makes_no_file_of_it(tmp_path, name):
    files = export.files_at(tmp_path / name, ("onnx", "pt2"))
    assert files == {"onnx": tmp_path / name / "model.onnx", "pt2": tmp_path / name / "model.pt2"}


@pytest.mark.parametrize("place", ["taken", "taken/there", "taken/net.onnx"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(digits_search, tmp_path, monkeypatch, place):
    monkeypatch.setattr("autoprune.finalize.finish.fine_tune_all", pytest.fail)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        digits_search.export("knee", tmp_path / place)


@pytest.mark.parametrize("options", [{"threads": 999_999}, {"threads": 0}, {"runs": 0}, {"recovery_steps": True}])
def test_numbers_that_mean_nothing_are_refused(options):
    with pytest.raises(UserError, match=next(iter(options)).replace("_", "-")):
        Options(**options)


def test_one_file_can_be_named(digits_search, tmp_path):
    final = digits_search.export("knee", tmp_path / "small" / "net.onnx", runs=2)
    assert {file.name for file in (tmp_path / "small").iterdir()} == {"net.onnx", "net_card.json", "net_card.md"}
    assert list(final.files) == ["onnx"]


def test_a_file_that_computes_something_else_is_not_handed_out(digits_search, model, tmp_path, monkeypatch):
    def write_another(model, inputs, file):
        torch.save({name: tensor * 1.01 for name, tensor in model.state_dict().items()}, file)

    broken = replace(export.FORMATS["state_dict"], write=write_another)
    monkeypatch.setattr(export, "FORMATS", {**export.FORMATS, "state_dict": broken})
    task, data, dense = digits_search.loaded
    file = tmp_path / "model.state_dict.pt"
    with pytest.raises(export.ExportMismatch, match="differs from the pruned model"):
        export.export(task, model, dense.model, data.validation, {"state_dict": file})
    assert not file.exists()


@pytest.mark.parametrize(
    "formats, place, message",
    [("coreml", "x", "unknown format 'coreml': use pt2, onnx, state_"), ("onnx,tflite", "x", "no torch from 2.15 on")],
)
def test_an_unknown_format_is_refused(formats, place, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export.formats_for(formats, tmp_path / place)


def test_what_torch_export_refuses_is_known_before_a_search(digits):
    class Choosy(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x.flatten(1)[:, :10]

    task = digits[0]
    model = torch.nn.Sequential(torch.nn.Flatten(), Choosy(64, 10)).train()
    found = export.refused(task, model, export.usual())
    assert set(found) == {"pt2", "onnx"} and "torch.export refuses this model: " in found["onnx"]
    assert model.training and export.refused(task, task.build(), export.usual()) == {}


def test_where_no_format_will_do_there_is_a_card_without_files(digits_search, tmp_path):
    tmp_path = tmp_path / "new"
    final = digits_search.export("knee", tmp_path, formats=(), recovery_steps=0)
    assert final.files == {} and final.test_quality > 0
    assert "## Files" not in (tmp_path / "model_card.md").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {"model_card.json", "model_card.md", "front.csv"}


def test_a_format_that_fails_at_the_end_of_a_run_costs_its_own_file_only(digits_search, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no operator for this")

    broken = replace(export.FORMATS["onnx"], write=fail)
    monkeypatch.setattr(export, "FORMATS", {**export.FORMATS, "onnx": broken})
    how = {"formats": ("onnx", "state_dict"), "recovery_steps": 0, "runs": 2}
    with pytest.raises(UserError, match="format onnx cannot hold this model: RuntimeError: no operator"):
        digits_search.export("knee", tmp_path / "strict", **how)
    final = digits_search.export("knee", tmp_path / "lenient", lenient=True, **how)
    assert list(final.files) == ["state_dict"] and "no operator" in final.left_out["onnx"]


def test_one_file_for_two_formats_is_refused(tmp_path):
    with pytest.raises(UserError, match="one file for the formats pt2, onnx"):
        export.files_at(tmp_path / "net.onnx", ("pt2", "onnx"))


def test_further_recovery_improves_a_poor_model_keeps_zeros_and_never_reads_the_test_split(digits):
    task, data, dense = digits
    data = data._replace(test=None)
    model = task.build(1)
    with torch.no_grad():
        model.hidden.weight[:, ::2] = 0
    found = recover(task, model, dense, data, steps=40)
    assert found.before < 0.5 < found.after
    assert found.kept
    assert int((found.model.hidden.weight[:, ::2] != 0).sum()) == 0
    assert evaluation.quality(task, found.model, data.validation) == found.after


def test_further_recovery_that_harms_is_not_taken(digits):
    task, data, dense = digits
    harmful = replace(task, recovery=replace(task.recovery, learning_rate=2.0, distillation=0.0))
    found = recover(harmful, dense.model, dense, data, steps=15)
    assert found.after < found.before
    assert not found.kept
    assert found.model is dense.model


def test_of_a_metric_that_is_minimised_further_recovery_takes_the_lower(digits):
    task, data, dense = digits
    task = replace(task, metric="perplexity")
    dense = replace(dense, measures={"perplexity": 0.0})
    poor = task.build(1)
    found = recover(task, poor, dense, data, steps=40)
    assert found.after < found.before and found.kept and found.model is not poor


def test_a_trial_that_shared_its_recovery_gets_one_of_its_own_before_the_export(digits, tmp_path):
    space = {
        "schedule": {"_type": "choice", "_value": ["supernet"]},
        "sparsity": {"_type": "choice", "_value": [0.5]},
    }
    result = autoprune.run_search(digits[0], trials=1, space=space, baselines=False)
    final = result.export("knee", tmp_path / "net.pt2", runs=2)
    assert final.recovery.steps == digits[0].recovery.steps
    assert final.recovery.before == final.chosen.metrics["accuracy"]
    unchanged = result.export("knee", tmp_path / "net.pt2", runs=2, recovery_steps=0)
    assert unchanged.recovery is None


def test_the_interval_is_wilsons():
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson(1.0, 50) == pytest.approx((0.9287, 1.0), abs=1e-4)
