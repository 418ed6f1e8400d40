"""VGG-style networks with batch norm for small images (Simonyan & Zisserman 2015; Li et al. 2017 for CIFAR)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
"""The CIFAR version of VGG-16: channels of each convolution, and M for 2x2 max pooling."""


class VGG(nn.Module):
    """3x3 convolutions with batch norm, pooled in between, then one hidden layer.

    Args:
        plan: the number of channels of each convolution, and ``"M"`` for 2x2 max pooling.
        hidden: units of the hidden layer.
        classes: number of classes.
        in_channels: 3 for CIFAR, 1 for grey images.
    """

    def __init__(
        self, plan: Sequence[int | str] = VGG16, hidden: int = 512, classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for entry in plan:
            if isinstance(entry, str):  # "M"
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, entry, 3, 1, 1, bias=False), nn.BatchNorm2d(entry), nn.ReLU()]
                channels = entry
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels, hidden)
        self.relu = nn.ReLU()
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, classes)`` logits."""
        x = self.features(x).mean((2, 3))
        return self.head(self.relu(self.hidden(x)))
