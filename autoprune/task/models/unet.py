"""A small U-Net, for segmentation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """Two levels down and up again, with skips that are concatenated (Ronneberger et al. 2015).

    Input ``(N, 1, H, W)`` with H and W multiples of 4, output ``(N, classes, H, W)`` logits.

    Args:
        classes: of a pixel.
        width: channels at the full resolution; the lower levels have two and four times as many.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.down1, self.down2 = _conv_bn(1, width), _conv_bn(width, 2 * width)
        self.bottom = nn.Sequential(_conv_bn(2 * width, 4 * width), _conv_bn(4 * width, 4 * width))
        self.up2, self.up1 = _conv_bn(6 * width, 2 * width), _conv_bn(3 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each pixel."""
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.bottom(F.max_pool2d(second, 2))
        x = self.up2(torch.cat([second, F.interpolate(x, scale_factor=2)], 1))
        x = self.up1(torch.cat([first, F.interpolate(x, scale_factor=2)], 1))
        return self.head(x)


def _conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
