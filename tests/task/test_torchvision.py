"""torchvision's segmentation models and detectors, with data sets as its own training reads them."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.fcn import FCN, FCNHead

from autoprune import Candidate, Recipe, UserError, export, from_torchvision, run_trial
from autoprune.prune import dense
from autoprune.task.builtin import composed, digits
from autoprune.train import evaluation
from autoprune.train.fit import check_data

SHORT = Recipe(steps=3, batch_size=8, learning_rate=1e-3, optimizer="adamw")
HALF = Candidate(uniform=0.5, criterion="group_norm")


@pytest.fixture(scope="module")
def scenes():
    source = digits.data().train
    return [composed.compose(source, count, seed) for seed, count in enumerate((16, 8))]


class Boxes(Dataset):
    """Images of two sizes, with the boxes in them."""

    def __init__(self, scenes):
        self.scenes = scenes

    def __len__(self):
        return len(self.scenes.images)

    def __getitem__(self, i):
        image = self.scenes.images[i].expand(3, -1, -1)[:, :, : 32 - i % 2]
        boxes = self.scenes.boxes[i].clamp(max=31)
        return image, {"boxes": boxes, "labels": self.scenes.labels[i] + 1}


def backbone():
    def step(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    return nn.Sequential(step(3, 16), step(16, 32))


def segmenter(aux=True):
    torch.manual_seed(0)
    layers = IntermediateLayerGetter(backbone(), {"1": "out"} | ({"0": "aux"} if aux else {}))
    return FCN(layers, FCNHead(32, 11), FCNHead(16, 11) if aux else None)


def detector():
    torch.manual_seed(0)
    layers = backbone()
    layers.out_channels = 32
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    return FCOS(layers, 11, min_size=32, max_size=32, anchor_generator=anchors)


def pruned(task):
    data = task.splits()
    assert [note for note in check_data(task, data, task.build()) if "distill" not in note] == []
    model = dense.load_or_train(task, data)
    result = run_trial(task, HALF, data, model)
    assert result.measures["params"] < 0.6 * model.measures["params"]
    assert 0 <= result.measures[task.metric.name] <= 1
    return model, result


def test_a_segmentation_model_learns_by_both_its_classifiers_and_is_judged_without_the_void(tmp_path, scenes):
    data = [TensorDataset(each.images.expand(-1, 3, -1, -1), each.masks) for each in scenes]
    task = from_torchvision(segmenter(), *data, recovery=SHORT)
    model, result = pruned(task)
    images, masks = data[1].tensors
    with torch.no_grad():
        outputs = task.run(model.model, (images, masks))
    loss = nn.functional.cross_entropy
    assert task.loss(outputs, (images, masks)) == loss(outputs["out"], masks) + 0.5 * loss(outputs["aux"], masks)
    void = masks.clone()
    void[:, :16] = 255
    out, aux = (outputs[name][:, :, 16:] for name in ("out", "aux"))
    assert task.loss(outputs, (images, void)).item() == pytest.approx(
        loss(out, masks[:, 16:]).item() + 0.5 * loss(aux, masks[:, 16:]).item()
    )

    found = evaluation.quality(task, model.model, TensorDataset(images, void))
    assert found == pytest.approx(multiclass_jaccard_index(out, masks[:, 16:], 11).item())
    found = export.export(task, result.model, model.model, data[1], {"pt2": tmp_path / "model.pt2"}, runs=2)
    assert found["pt2"].quality == pytest.approx(result.measures["mIoU"])


def test_a_detector_learns_by_its_own_losses_and_is_judged_by_what_it_finds(scenes):
    task = from_torchvision(detector(), *map(Boxes, scenes), recovery=SHORT)
    model, _ = pruned(task)
    batch = next(iter(task.train))
    losses = model.model.train()(*batch)
    assert task.loss(losses, batch) == sum(losses.values())
    assert [set(each) for each in task.run(model.model.eval(), batch)] == [{"boxes", "scores", "labels"}] * 8


def test_that_a_detector_has_no_file_is_known_before_the_search(scenes):
    task = from_torchvision(detector(), *map(Boxes, scenes), recovery=SHORT)
    found = export.refused(task, task.build(), export.usual())
    assert set(found) == set(export.usual()) and "no main tensor" in found["state_dict"]


def test_a_name_is_built_untrained_and_a_loader_is_taken_as_it_is(scenes):
    data = [TensorDataset(each.images.expand(-1, 3, -1, -1), each.masks) for each in scenes]
    loader = DataLoader(data[0], 4, shuffle=True)
    task = from_torchvision("lraspp_mobilenet_v3_large", loader, data[1], classes=11)
    assert task.train is loader and task.test is data[1] and not task.is_trained
    assert task.run(task.build(), next(iter(loader)))["out"].shape == (4, 11, 32, 32)


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        ("fcn_resnet50", None, "say how many classes there are"),
        ("fcn_resnet51", 11, "Unknown model fcn_resnet51"),
        ("squeezenet1_1", 11, "a classifier needs no adapter"),
    ],
)
def test_what_cannot_be_a_task_is_refused(scenes, model, classes, message):
    data = [TensorDataset(each.images.expand(-1, 3, -1, -1), each.masks) for each in scenes]
    with pytest.raises(UserError, match=message):
        from_torchvision(model, *data, classes=classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_models_by_their_names(scenes, name):
    if name.startswith("fcn"):
        data = [TensorDataset(each.images.expand(-1, 3, -1, -1), each.masks) for each in scenes]
        pruned(from_torchvision(name, *data, classes=11, training=SHORT, recovery=SHORT))
    else:
        model = models.get_model(name, weights=None, weights_backbone=None, num_classes=11, min_size=64, max_size=64)
        pruned(from_torchvision(model, *map(Boxes, scenes), recovery=SHORT))
