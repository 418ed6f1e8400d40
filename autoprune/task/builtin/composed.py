"""Scenes composed of scikit-learn's real handwritten digits: where each digit lies is known to the pixel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from autoprune.task.builtin import digits

SIZE = 32
"""Pixels along each side of a scene."""

CELL, SMALLEST = SIZE // 2, 9
"""A digit lies somewhere in its quarter of the scene, between so many pixels and the whole quarter wide."""

INK = 0.3
"""From this brightness on a pixel belongs to the digit."""

COUNTS = {"train": 800, "validation": 160, "test": 160}
"""Scenes in each split. A digit's image is in scenes of one split only."""


class Scenes(NamedTuple):
    """Composed scenes.

    Args:
        images: brightness in [0, 1], shape ``(N, 1, 32, 32)``.
        masks: the class of each pixel, shape ``(N, 32, 32)``, int64: 0 is the background, ``d + 1`` the digit ``d``.
        boxes: x1, y1, x2, y2 in pixels of each scene's digits, shape ``(n, 4)``.
        labels: the digits, shape ``(n,)``, int64.
    """

    images: Tensor
    masks: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


def splits() -> dict[str, Scenes]:
    """Return the scenes of each split, the same each time."""
    found = digits.data()
    return {name: compose(getattr(found, name), count, seed) for seed, (name, count) in enumerate(COUNTS.items())}


def compose(source: TensorDataset, count: int, seed: int) -> Scenes:
    """Return ``count`` scenes of one to four digits drawn from ``source``, each in a quarter of its own."""
    chance = torch.Generator().manual_seed(seed)

    def draw(least: int, most: int) -> int:
        return int(torch.randint(least, most + 1, (), generator=chance))

    images, masks = torch.zeros(count, 1, SIZE, SIZE), torch.zeros(count, SIZE, SIZE, dtype=torch.int64)
    boxes, labels = [], []
    for image, mask in zip(images, masks, strict=True):
        found, here = [], []
        for quarter in torch.randperm(4, generator=chance)[: draw(1, 4)].tolist():
            digit, label = source[draw(0, len(source) - 1)]
            size = draw(SMALLEST, CELL)
            top, left = (CELL * part + draw(0, CELL - size) for part in divmod(quarter, 2))
            drawn = F.interpolate(digit[None], size=(size, size), mode="bilinear")[0, 0]
            image[0, top : top + size, left : left + size] = drawn
            ink = drawn > INK
            mask[top : top + size, left : left + size][ink] = int(label) + 1
            rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
            found.append([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1])
            here.append(int(label))
        boxes.append(torch.tensor(found, dtype=torch.float32))
        labels.append(torch.tensor(here))
    return Scenes(images, masks, boxes, labels)
