"""Each built-in task that is no classifier learns, and its network is pruned, recovered, made smaller and measured."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoprune.errors import UserError
from autoprune.prune import dense
from autoprune.results.candidate import Candidate
from autoprune.task.builtin import composed, digits, digits_detection, imdb_gpt
from autoprune.task.find import load_task
from autoprune.task.models import fcos
from autoprune.task.models.gpt import GPT
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation
from autoprune.train.fit import check_data
from autoprune.trial.run import run_trial

STEPS = {"diabetes": (200, 60), "digits-segmentation": (150, 60), "digits-detection": (100, 40), "imdb-gpt": (160, 40)}
"""Of the dense training here, and of recoveries; a supernet has half as many as these."""

BETTER_THAN_GUESSING = {"diabetes": 0.8, "digits-segmentation": 0.2, "digits-detection": 0.15, "imdb-gpt": 8.0}
"""Guessing gives an error of 1, the background alone a mIoU of 0.09, no box a mAP of 0; letters as often as they are in
the text a perplexity of 17."""

GROUPS = {
    "diabetes": ["hidden1", "hidden2"],
    "digits-segmentation": ["down1.0", "down2.0", "bottom.0.0", "bottom.1.0", "up2.0", "up1.0"],
    "digits-detection": ["stem.0", "down1.0", "down2.0", "neck.0", "class_tower.0", "box_tower.0"],
    "imdb-gpt": [f"layers.{i}.{part}" for i in range(2) for part in ("qkv", "up")],
}

SENTENCES = (
    "The film is a joy from the first scene to the last.",
    "I have seldom seen so dull a story, and so well played.",
    "Nobody who loves the cinema should miss it.",
    "What a waste of two hours, and of good actors!",
)


def write_reviews(folder: Path) -> None:
    (folder / "imdb").mkdir()
    for split in ("train", "test"):
        with (folder / "imdb" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(" ".join(SENTENCES[(i + j) % 4] for j in range(4)), i % 2) for i in range(100)]
            csv.writer(file).writerows([("text", "label"), *rows])


@pytest.fixture(scope="module", params=STEPS)
def prepared(request, tmp_path_factory, private_cache) -> Iterator[tuple[Task, Splits, dense.Dense]]:
    """A task with short recipes, its data and its trained dense model."""
    with pytest.MonkeyPatch.context() as environment:
        if request.param == "imdb-gpt":
            folder = tmp_path_factory.mktemp("data")
            environment.setenv("AUTOPRUNE_DATA", str(folder))
            write_reviews(folder)
        task, (steps, recovery) = load_task(request.param), STEPS[request.param]
        task = replace(
            task,
            training=replace(task.training, steps=steps, batch_size=8),
            recovery=replace(task.recovery, steps=recovery, batch_size=8),
            supernet_steps=recovery // 2,
        )
        data = task.splits()
        yield task, data, dense.load_or_train(task, data)


def test_it_fits_together_and_learns_more_than_guessing(prepared):
    task, data, found = prepared
    assert check_data(task, data, found.model) == []
    limit = BETTER_THAN_GUESSING[task.name]
    assert task.metric.cost(found.measures[task.metric.name]) < task.metric.cost(limit)
    assert evaluation.quality(task, found.model, data.validation) == found.measures[task.metric.name]


def test_its_groups_are_found(prepared):
    task, _, found = prepared
    assert [group.name for group in found.groups] == GROUPS[task.name]
    heads = {"digits-detection": ["classes", "boxes"], "imdb-gpt": ["tokens"]}.get(task.name, ["head"])
    assert {found.groups.left_alone[name] for name in heads} == {"it is the model's output"}


def test_a_trial_removes_half_and_recovers(prepared):
    task, data, found = prepared
    result = run_trial(task, Candidate(uniform=0.5), data, found)
    assert all(result.kept[group.name] == group.channels // 2 for group in found.groups)
    assert result.measures.keys() == found.measures.keys()
    assert (
        result.measures["macs"] < 0.65 * found.measures["macs"] and result.measures["params"] < found.measures["params"]
    )
    assert task.metric.cost(result.measures[task.metric.name]) < task.metric.cost(BETTER_THAN_GUESSING[task.name])


def test_one_supernet_serves_its_candidates(prepared):
    task, data, found = prepared
    result = run_trial(task, Candidate(uniform=0.25, schedule="supernet"), data, found)
    assert result.measures["macs"] < found.measures["macs"]
    assert task.metric.cost(result.measures[task.metric.name]) < task.metric.cost(BETTER_THAN_GUESSING[task.name])


def test_the_text_is_harder_than_its_limit_for_who_only_counts_letters():
    counts = torch.tensor(list("\n\n".join([" ".join(SENTENCES)] * 10).encode())).bincount().double()
    shares = counts[counts > 0] / counts.sum()
    assert float((-(shares * shares.log()).sum()).exp()) > 2 * BETTER_THAN_GUESSING["imdb-gpt"]


def test_a_composed_scene_is_known_to_the_pixel_and_no_image_is_in_two_splits():
    scenes = composed.compose(digits.data().validation, 30, seed=0)
    assert {len(boxes) for boxes in scenes.boxes} == {1, 2, 3, 4}
    for image, mask, boxes, labels in zip(*scenes, strict=True):
        for (left, top, right, bottom), label in zip(boxes.int().tolist(), labels.tolist(), strict=True):
            inside = mask[top:bottom, left:right]
            assert inside.unique().tolist() in ([label + 1], [0, label + 1])
            for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert side.any()  # the box is tight
        covered = torch.zeros_like(mask, dtype=torch.bool)
        for left, top, right, bottom in boxes.int().tolist():
            covered[top:bottom, left:right] = True
        assert not mask[~covered].any() and torch.equal(image[0] > composed.INK, mask > 0)
    again = composed.compose(digits.data().validation, 30, seed=0)
    assert torch.equal(scenes.images, again.images) and torch.equal(scenes.masks, again.masks)


TARGETS = [
    {"boxes": torch.tensor([[2.0, 3.0, 12.0, 15.0], [17.0, 16.0, 30.0, 31.0]]), "labels": torch.tensor([3, 7])},
    {"boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64)},
]


def right_outputs(targets: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """Return what a network that knows the targets returns."""
    outputs = torch.full((len(targets), 14, 8, 8), -9.0)
    for row, target in zip(outputs, targets, strict=True):
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            x, y = ((box[:2] + box[2:]) / 8).int().tolist()
            place = (torch.tensor([x, y]) + 0.5) * fcos.STRIDE
            row[label, y, x] = 9.0
            row[10:, y, x] = torch.cat([place - box[:2], box[2:] - place]) / fcos.STRIDE
    return outputs


def test_a_network_that_knows_the_boxes_finds_them_and_nothing_else():
    found = fcos.detections(right_outputs(TARGETS))
    for each, target in zip(found, TARGETS, strict=True):
        order = each["labels"].argsort()
        assert torch.allclose(each["boxes"][order], target["boxes"])
        assert torch.equal(each["labels"][order], target["labels"])


def test_boxes_that_are_right_have_the_least_loss_and_no_distance_from_themselves():
    right = right_outputs(TARGETS).clamp_min(-6)
    shifted, other = right.clone(), right.clone()
    shifted[:, 10:] += 1
    other[:, :10] = right[:, :10].roll(1, 1)
    assert fcos.loss(right, TARGETS) < fcos.loss(shifted, TARGETS)
    assert fcos.loss(right, TARGETS) < fcos.loss(other, TARGETS)
    assert fcos.loss(right, TARGETS[1:] * 2).isfinite()  # images without any box
    assert fcos.distillation(right, right) < fcos.distillation(shifted, right)


def test_the_detectors_metric_is_that_of_coco():
    outputs = right_outputs(TARGETS)

    class Knows(torch.nn.Module):
        def forward(self, images):
            return outputs

    batch = [torch.zeros(1, 32, 32)] * 2, TARGETS
    assert digits_detection.evaluate(Knows(), [batch]) == {"mAP": 1.0, "mAP50": 1.0}
    outputs = torch.full_like(outputs, -9.0)
    assert digits_detection.evaluate(Knows(), [batch]) == {"mAP": 0.0, "mAP50": 0.0}


def test_a_token_sees_none_that_comes_after_it():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT(vocabulary=20, length=8, width=16, layers=2, heads=2).eval()
    ids = torch.arange(8).unsqueeze(0)
    changed = ids.clone()
    changed[0, 5:] = 19
    with torch.no_grad():
        one, other = model(ids), model(changed)
        assert torch.allclose(model(ids[:, :3]), one[:, :3], atol=1e-5)  # a shorter row will do
    assert torch.allclose(one[:, :5], other[:, :5], atol=1e-5) and not torch.allclose(one[:, 5:], other[:, 5:])


def test_rows_of_text_have_the_next_byte_as_their_label():
    inputs, following = imdb_gpt.rows(["abc" * 100, "d" * 300], most=2).tensors
    assert inputs.shape == following.shape == (2, imdb_gpt.LENGTH) and inputs.dtype == torch.int64
    text = ("abc" * 100)[: 2 * imdb_gpt.LENGTH + 1].encode()
    assert bytes(inputs.flatten().tolist()) == text[:-1] and bytes(following.flatten().tolist()) == text[1:]


def test_reviews_that_are_missing_or_too_short_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"^IMDB reviews: .*train.csv does not exist: .*get_imdb.py .*AUTOPRUNE_DATA"):
        imdb_gpt.data()
    (tmp_path / "imdb").mkdir()
    for split in ("train", "test"):
        (tmp_path / "imdb" / f"{split}.csv").write_text("text,label\nGood.,1\n")
    with pytest.raises(UserError, match="too little text"):
        imdb_gpt.data()
