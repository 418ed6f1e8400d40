"""A task of your own in one file: telling benign from malignant tumours (scikit-learn's breast cancer data set).

569 real cases of 30 measurements each, bundled with scikit-learn; run it with `autoprune run my_task.yaml`.
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import TensorDataset

import autoprune


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.head = nn.Linear(30, 128), nn.Linear(128, 64), nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.narrow(self.wide(x).relu()).relu())


def data() -> autoprune.Splits:
    inputs, labels = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)
    train, validation, test = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).split([289, 140, 140])
    x = (x - x[train].mean(0)) / x[train].std(0)  # the scale is learnt from the training split only
    return autoprune.Splits(*(TensorDataset(x[part], y[part]) for part in (train, validation, test)))


task = autoprune.Task(
    name="tumours",
    model=Network,
    data=data,
    example_input=torch.randn(1, 30, generator=torch.Generator().manual_seed(0)),
    training=autoprune.Recipe(steps=200, batch_size=32, learning_rate=0.05),
    recovery=autoprune.Recipe(steps=100, batch_size=32, learning_rate=0.02, distillation=0.5),
)
