"""A tiny task for the tests of criteria and schedules: nothing takes longer than a blink."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from autoprune.prune.dense import Dense
from autoprune.prune.find import find_groups
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task


class TinyNet(nn.Module):
    """A residual pair, a plain convolution and a hidden layer: four groups, with and without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.inner_bn = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, 8, 1)
        self.hidden = nn.Linear(8 * 4, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem_bn(self.stem(x)).relu()
        x = (x + self.outer(self.inner_bn(self.inner(x)).relu())).relu()
        x = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.head(self.hidden(x).relu())


def make_task() -> tuple[Task, Splits, Dense]:
    """Return a task that stands ready: its first weights are taken for the trained ones, batch norm is random."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 3
    x = torch.randn(96, 1, 4, 4, generator=generator) + (y - 1).view(-1, 1, 1, 1)
    data = Splits(*(TensorDataset(x, y) for _ in range(3)))
    task = Task(
        name="tiny",
        model=TinyNet,
        data=lambda: data,
        example_input=x[:1],
        training=Recipe(steps=8, batch_size=16, learning_rate=0.02),
        recovery=Recipe(steps=4, batch_size=16, learning_rate=0.01),
    )
    model = task.build()
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, tensor in model.state_dict().items():
        if name.endswith(("bn.weight", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bn.bias", "running_mean")):
            tensor.normal_(0, 0.1, generator=generator)
    return task, data, Dense(model.eval(), initial, {}, "tiny", find_groups(model, x[:1]))


def make_groups(dense: Dense, task: Task):
    """Return the four groups: stem (8 channels), inner (12), hidden (16)."""
    return find_groups(dense.model, task.example_input)
