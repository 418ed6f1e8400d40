"""Ultralytics' detectors as they come: described by a file or trained, on a data set in the YOLO format."""

import os
import random

import pytest
import torch
import yolo_folder
from torch.utils.data import DataLoader

from autoprune import Candidate, Recipe, UserError, export, from_ultralytics, run_trial
from autoprune.base.fingerprint import fingerprint_data
from autoprune.prune import dense
from autoprune.prune.find import find_groups
from autoprune.train.fit import check_data
from autoprune.train.loading import batches

SHORT = Recipe(steps=3, batch_size=8, learning_rate=1e-3, optimizer="adamw")
TINY = """
nc: 10
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C2f, [32, True]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C2f, [32]]
  - [[6, 3], 1, Detect, [nc]]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
    pytest.importorskip("ultralytics")
    return yolo_folder.write(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def tiny(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


def of(model, data):
    return from_ultralytics(model, data, imgsz=64, batch=8, training=SHORT, recovery=SHORT)


def test_a_described_yolo_is_trained_by_its_own_loss_pruned_and_judged_by_its_own_validator(tiny, data):
    task = of(tiny, data)
    splits = task.splits()
    assert check_data(task, splits, task.build()) == []
    model = dense.load_or_train(task, splits)
    result = run_trial(task, Candidate(uniform=0.5, criterion="group_norm"), splits, model)
    assert result.measures["params"] < 0.6 * model.measures["params"] and 0 <= result.measures["mAP"] <= 1
    batch = next(iter(task.validation))
    yolo = model.model.yolo
    assert torch.equal(model.model(batch["img"]), yolo.eval()(batch["img"])[0])
    parts, _ = yolo.train().loss(batch)
    found = task.loss_of(model.model.train(), batch)
    assert found.requires_grad and found.item() == pytest.approx(parts.sum().item() / 8)


def test_its_validator_finds_what_is_right(tiny, data):
    task = of(tiny, data)

    class Right(torch.nn.Module):
        """Predicts the boxes that are there, one place for each."""

        def forward(self, images):
            batch = next(batch for batch in task.validation if torch.equal(batch["img"], images))
            found = torch.zeros(len(images), 14, 40)
            for place, (i, box, label) in enumerate(
                zip(batch["batch_idx"], batch["bboxes"], batch["cls"], strict=True)
            ):
                found[int(i), :4, place], found[int(i), 4 + int(label), place] = box * 64, 0.9
            return found

    assert task.evaluate(Right(), task.validation)["mAP"] == pytest.approx(0.995, abs=0.01)


def test_what_is_read_repeats_with_the_seed_and_not_with_what_was_read_before(tiny, data):
    task = of(tiny, data)
    key = fingerprint_data(task.train)
    first, again = (next(batches(task.train, 8, torch.Generator().manual_seed(1)))["img"] for _ in range(2))
    other = next(batches(task.train, 8, torch.Generator().manual_seed(2)))["img"]
    random.random()
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert fingerprint_data(task.train) == key == fingerprint_data(of(tiny, data).train)


def test_a_trained_yolo_keeps_its_weights_and_its_size_of_images(tiny, tmp_path, data):
    from ultralytics.nn.tasks import DetectionModel

    yolo = DetectionModel(str(tiny), nc=10, verbose=False)
    for parameter in yolo.parameters():
        parameter.requires_grad_(False)  # as in a checkpoint's averaged weights
    torch.save({"model": yolo, "train_args": {"imgsz": 32}}, tmp_path / "best.pt")
    task = from_ultralytics(tmp_path / "best.pt", data)
    assert task.is_trained and task.example.shape == (1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(task.model.yolo.parameters(), yolo.parameters(), strict=True))
    assert {name for name, p in task.model.named_parameters() if not p.requires_grad} == {
        "yolo.model.7.dfl.conv.weight"
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("absent.pt", "there is no file .*absent.pt"),
        ("absent.yaml", "absent.yaml is no YOLO detector"),
        ("yolov8n-seg.yaml", "only detectors"),
    ],
)
def test_what_is_no_detector_is_refused(tmp_path, data, model, message):
    with pytest.raises(UserError, match=message):
        of(model if "n-" in model else tmp_path / model, data)


def test_a_model_of_other_classes_and_data_that_are_not_there_are_refused(tiny, tmp_path, data):
    from ultralytics.nn.tasks import DetectionModel

    torch.save({"model": DetectionModel(str(tiny), nc=3, verbose=False), "train_args": {}}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="best.pt knows 3 classes, but the data have 10"):
        from_ultralytics(tmp_path / "best.pt", data)
    with pytest.raises(UserError, match="there is no file .*none.yaml"):
        of(tiny, tmp_path / "none.yaml")


@pytest.mark.slow
def test_nearly_all_of_a_yolov8n_is_in_groups_and_the_pruned_one_runs_in_onnx_runtime(tmp_path, data):
    task = of("yolov8n.yaml", data)
    splits = task.splits()
    model = dense.load_or_train(task, splits)
    groups = find_groups(model.model, task.example)
    inside = {part.parameter for group in groups for part in group.slices}
    shares = [p.numel() for name, p in model.model.named_parameters() if name in inside]
    assert sum(shares) > 0.999 * sum(p.numel() for p in model.model.parameters())
    result = run_trial(task, Candidate(uniform=0.5, criterion="group_norm"), splits, model)
    found = export.export(task, result.model, model.model, task.validation, {"onnx": tmp_path / "m.onnx"}, runs=2)
    assert found["onnx"].quality == pytest.approx(result.measures["mAP"]) and found["onnx"].difference < 1e-4
    assert isinstance(task.train, DataLoader)
