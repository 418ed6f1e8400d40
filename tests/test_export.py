import onnxruntime
import pytest
import torch

from autoprune import export
from autoprune.candidate import Candidate
from autoprune.trial import run_trial


@pytest.fixture(scope="module")
def pruned(digits):
    task, data, dense = digits
    return run_trial(task, Candidate(uniform=0.5), data, dense).model


def test_every_format_loads_in_its_own_runtime_with_the_same_outputs(digits, pruned, tmp_path):
    inputs = torch.stack([digits[1].validation[i][0] for i in range(16)])
    files = export.export(digits[0], pruned, inputs, tmp_path)
    with torch.no_grad():
        expected = pruned(inputs[:3])  # another batch size than the exporter saw
    session = onnxruntime.InferenceSession(files["onnx"])
    assert torch.allclose(torch.tensor(session.run(None, {"input": inputs[:3].numpy()})[0]), expected, atol=1e-4)
    assert torch.allclose(torch.export.load(files["pt2"]).module()(inputs[:3]), expected, atol=1e-4)
    assert torch.equal(export.load_pruned(digits[0], files["state_dict"])(inputs[:3]), expected)


def test_a_file_that_computes_something_else_is_not_handed_out(digits, pruned, tmp_path, monkeypatch):
    def write_another(model, inputs, file):
        torch.save({name: tensor * 1.01 for name, tensor in model.state_dict().items()}, file)

    monkeypatch.setitem(export.FORMATS, "state_dict", ("pt", write_another, export._run_state_dict))
    with pytest.raises(export.ExportMismatch, match="differs from the pruned model"):
        export.export(digits[0], pruned, torch.randn(4, 1, 8, 8), tmp_path)
