"""A small residual network for 8x8 digits."""

from torch import Tensor, nn


class DigitsNet(nn.Module):
    """One residual block and two plain layers: 59,000 parameters, with one coupled and three free channel groups.

    Input ``(N, 1, 8, 8)``, output ``(N, 10)`` logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv_bn(1, 32)
        self.block = nn.Sequential(_conv_bn(32, 32), nn.ReLU(), _conv_bn(32, 32))
        self.down = _conv_bn(32, 64, stride=2)
        self.hidden = nn.Linear(64 * 4, 64)
        self.head = nn.Linear(64, 10)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.relu(self.stem(x))
        x = self.relu(x + self.block(x))
        x = self.pool(self.relu(self.down(x)))
        return self.head(self.relu(self.hidden(x.flatten(1))))


def _conv_bn(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
