"""A small detector without anchors, after FCOS (Tian et al. 2019): its network, its loss and what it finds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

STRIDE = 4
"""Pixels between two places that can hold an object."""

REACH = 1.5
"""How far from a box's centre, in strides, the places are that learn it."""


class FCOS(nn.Module):
    """A backbone of stride 4 with a head for the classes and one for the boxes.

    Input ``(N, 1, H, W)`` with H and W multiples of 4. Output ``(N, classes + 4, H / 4, W / 4)``: at each place the
    logit of each class, and the distances in strides from the place to the left, upper, right and lower side of its
    box. One tensor, so that the network is measured and exported like any other; :func:`detections` reads it.

    Args:
        classes: of objects, without the background.
        width: channels at the full resolution; four times as many at stride 4.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.stem = _conv_bn(1, width)
        self.down1, self.down2 = _conv_bn(width, 2 * width, 2), _conv_bn(2 * width, 4 * width, 2)
        self.neck = _conv_bn(4 * width, 4 * width)
        self.class_tower, self.box_tower = _conv_bn(4 * width, 4 * width), _conv_bn(4 * width, 4 * width)
        self.classes, self.boxes = nn.Conv2d(4 * width, classes, 1), nn.Conv2d(4 * width, 4, 1)
        nn.init.constant_(self.classes.get_parameter("bias"), -4.0)  # nearly all places hold nothing (Lin et al. 2017)

    def forward(self, x: Tensor) -> Tensor:
        """Return class logits and distances."""
        x = self.neck(self.down2(self.down1(self.stem(x))))
        return torch.cat([self.classes(self.class_tower(x)), F.softplus(self.boxes(self.box_tower(x)))], 1)


def _conv_bn(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def read(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return class logits ``(N, places, classes)`` and boxes ``(N, places, 4)``, x1, y1, x2, y2 in pixels."""
    rows = outputs.flatten(2).transpose(1, 2)
    logits, distances = rows[..., :-4], rows[..., -4:] * STRIDE
    places = _places(outputs)
    return logits, torch.cat([places - distances[..., :2], places + distances[..., 2:]], -1)


def _places(outputs: Tensor) -> Tensor:
    """Return the middle of each place, x and y in pixels, shape ``(places, 2)``."""
    height, width = outputs.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], -1).flatten(0, 1).to(outputs) + 0.5) * STRIDE


def loss(outputs: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
    """Return the focal loss of the classes plus the generalised IoU loss of the boxes, for each place with an object.

    Args:
        outputs: of :class:`FCOS`.
        targets: ``boxes`` ``(n, 4)`` in pixels and ``labels`` ``(n,)`` of each image. A place learns the smallest box
            that it lies in, if it is near the centre.
    """
    logits, boxes = read(outputs)
    places, classes = _places(outputs), torch.zeros_like(logits)
    wanted, found = [], []
    for i, target in enumerate(targets):
        if not len(target["boxes"]):
            continue
        place, box = _assigned(places, target["boxes"])
        classes[i, place, target["labels"][box]] = 1
        found.append(boxes[i, place])
        wanted.append(target["boxes"][box])
    count = max(1, sum(map(len, wanted)))
    total = sigmoid_focal_loss(logits, classes, reduction="sum") / count
    if wanted:
        total = total + generalized_box_iou_loss(torch.cat(found), torch.cat(wanted), reduction="sum") / count
    return total


def _assigned(places: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the places that learn a box, and of the boxes that they learn."""
    x, y = places[:, None, 0], places[:, None, 1]
    inside = (x > boxes[:, 0]) & (y > boxes[:, 1]) & (x < boxes[:, 2]) & (y < boxes[:, 3])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = (places[:, None] - centres).abs().amax(-1) < REACH * STRIDE
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).expand(len(places), -1)
    smallest, box = area.where(inside & near, torch.inf).min(1)
    place = smallest.isfinite().nonzero().flatten()
    return place, box[place]


def distillation(outputs: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the outputs are from a teacher's: in each class, and in the boxes where the teacher sees one."""
    (logits, boxes), (taught, sides) = read(outputs), read(teacher)
    scores = taught.sigmoid()
    sure = scores.amax(-1)
    count = sure.sum().clamp_min(1)
    classes = (F.binary_cross_entropy_with_logits(logits, scores, reduction="none").sum(-1)).sum() / count
    apart = F.l1_loss(boxes, sides, reduction="none").mean(-1) / STRIDE
    return classes + (apart * sure).sum() / count


def detections(
    outputs: Tensor, threshold: float = 0.05, overlap: float = 0.5, most: int = 100
) -> list[dict[str, Tensor]]:
    """Return ``boxes``, ``scores`` and ``labels`` of each image, as torchvision's detectors do.

    Args:
        threshold: the least score.
        overlap: of two boxes of one class with a greater IoU the worse one goes.
        most: detections of an image, the best ones.
    """
    logits, boxes = read(outputs)
    found = []
    for scores, sides in zip(logits.sigmoid(), boxes, strict=True):
        place, label = (scores > threshold).nonzero(as_tuple=True)
        scores, sides = scores[place, label], sides[place]
        kept = batched_nms(sides, scores, label, overlap)[:most]
        found.append({"boxes": sides[kept], "scores": scores[kept], "labels": label[kept]})
    return found
