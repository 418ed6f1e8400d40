"""LeCun's networks as the pruning papers use them (Han et al. 2015; Frankle & Carbin 2019)."""

from torch import Tensor, nn


class LeNet300100(nn.Sequential):
    """LeNet-300-100: three fully connected layers, 266,610 parameters. Input ``(N, 1, 28, 28)``, 10 logits."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
        )


class LeNet5(nn.Module):
    """LeNet-5 in the Caffe version that the pruning papers prune: 20 and 50 filters, 500 units, 431,080 parameters.

    Input ``(N, 1, 28, 28)``, output ``(N, 10)`` logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.fc2(self.relu(self.fc1(x.flatten(1))))
