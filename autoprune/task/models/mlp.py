"""A plain multilayer perceptron."""

from torch import Tensor, nn


class MLP(nn.Module):
    """Two hidden layers with ReLUs: ``(N, inputs)`` to ``(N, outputs)``."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(inputs, width), nn.Linear(width, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, without an activation."""
        return self.head(self.hidden2(self.hidden1(x).relu()).relu())
