"""Eight-bit files: smaller, nearly as accurate, run by ONNX Runtime on integers; refused when they are neither."""

import json

import onnx
import pytest
import torch

from autoprune import export
from autoprune.errors import UserError
from autoprune.export import int8, quantize
from autoprune.export.formats import onnx as onnx_format
from autoprune.export.formats.onnx import load
from autoprune.finalize.finish import Options
from autoprune.train import evaluation


@pytest.fixture(scope="module")
def home(digits_search, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    return digits_search.export("knee", folder / "net.onnx", int8=True, runs=5), folder


def accuracy(search, file, split):
    return evaluation.quality(search.loaded[0], export.AsModule(load(file)), split)


def test_an_eight_bit_file_is_smaller_and_about_as_accurate_and_the_card_says_how_much(home, digits_search):
    final, folder = home
    data = digits_search.loaded[1]
    card = json.loads((folder / "net_card.json").read_text())
    plain, small = card["files"]["net.onnx"], card["files"]["net.int8.onnx"]
    assert small["bytes"] == (folder / "net.int8.onnx").stat().st_size < 0.75 * plain["bytes"]
    assert small["validation accuracy"] == accuracy(digits_search, folder / "net.int8.onnx", data.validation)
    assert small["validation accuracy"] > plain["validation accuracy"] - 0.03
    assert small["test accuracy"] == accuracy(digits_search, folder / "net.int8.onnx", data.test)
    assert card["quantised"]["method"].startswith("post-training")
    assert "net.int8.onnx" in (folder / "net_card.md").read_text()


def test_its_weights_are_eight_bit_integers_and_its_batch_is_free(home):
    _, folder = home
    graph = onnx.load(folder / "net.int8.onnx").graph
    weights = [tensor for tensor in graph.initializer if len(tensor.dims) > 1]
    assert len(weights) == 6  # four convolutions, two linear layers
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}
    run = load(folder / "net.int8.onnx")
    assert [len(run(torch.zeros(n, 1, 8, 8))) for n in (1, 7)] == [1, 7]


def test_a_file_that_lost_too_much_is_refused(digits_search, tmp_path, monkeypatch):
    task, data, dense = digits_search.loaded
    monkeypatch.setattr(quantize, "CALIBRATION", 64)
    broken = dense.model.to(torch.float32)

    def write_untrained(task, model, calibration, file, seed=0):
        onnx_format.write(task.build(7), torch.zeros(2, 1, 8, 8), file)

    monkeypatch.setattr(quantize, "post_training", write_untrained)
    with pytest.raises(export.ExportMismatch, match="points of validation accuracy .* no file was written"):
        int8.export_int8(task, broken, dense, data, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_quantisation_aware_fine_tuning_gives_an_eight_bit_file_too(digits_search, tmp_path):
    pytest.importorskip("torchao")
    task, data, dense = digits_search.loaded
    before = {name: tensor.clone() for name, tensor in dense.model.state_dict().items()}
    file = tmp_path / "qat.onnx"
    quantize.quantization_aware(task, dense.model, dense.model, data._replace(validation=None, test=None), 20, file)
    weights = [tensor for tensor in onnx.load(file).graph.initializer if len(tensor.dims) > 1]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}
    assert accuracy(digits_search, file, data.validation) > dense.measures["accuracy"] - 0.03
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.model.state_dict().items())


def test_without_torchao_the_command_says_what_to_install(digits_search, tmp_path, monkeypatch):
    task, data, dense = digits_search.loaded
    monkeypatch.setattr(quantize.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs torchao: pip install 'autoprune\[qat\]'"):
        quantize.quantization_aware(task, dense.model, dense.model, data, 5, tmp_path / "x.onnx")


def test_steps_without_quantisation_are_refused():
    with pytest.raises(UserError, match="add --quantize int8"):
        Options(qat_steps=5)
