"""The CIFAR-style residual networks of He et al. 2016, section 4.2: ResNet-20, -56, -110."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or a 1x1 convolution where the shape changes (option B)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of ``depth`` = 6n + 2 layers in three stages.

    Args:
        depth: 20, 32, 44, 56, 110, ...
        classes: number of classes.
        in_channels: 3 for CIFAR, 1 for grey images.
        widths: channels of each stage.
        stem_stride: of the first convolution; 2 makes the whole network four times cheaper.
    """

    def __init__(
        self,
        depth: int = 20,
        classes: int = 10,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2, got {depth}")
        n = (depth - 2) // 6
        first, second, third = widths
        self.conv1 = nn.Conv2d(in_channels, first, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, n, stride=1)
        self.layer2 = _stage(first, second, n, stride=2)
        self.layer3 = _stage(second, third, n, stride=2)
        self.fc = nn.Linear(third, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, classes)`` logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def _stage(inputs: int, outputs: int, n: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(n - 1)))
